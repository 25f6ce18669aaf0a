import pytest

from faceauth.errors import UnknownNameError
from faceauth.intake.faces.face import FACE_DETECTORS, load_face_detector
from faceauth.registry import Registry
from faceauth.splits.balance import BALANCE_RULES


def test_parts_register_themselves_when_first_asked():
    assert FACE_DETECTORS.names() == ["mtcnn", "whole"]
    assert BALANCE_RULES.names() == ["class", "generator", "none"]


def test_an_unknown_name_offers_the_close_match():
    with pytest.raises(UnknownNameError, match="Did you mean 'mtcnn'"):
        load_face_detector("mtcn")
    with pytest.raises(UnknownNameError, match="Known: mtcnn, whole"):
        load_face_detector("retinaface")


def test_two_parts_of_one_name_are_refused():
    parts = Registry("part", package="faceauth.splits.balance")
    parts.register("a")(1)
    with pytest.raises(ValueError, match="'a'"):
        parts.register("a")(2)
    assert parts.get("a") == 1
