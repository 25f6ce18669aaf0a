"""How far plain facts go: what a ruler alone, without a look at the face, tells of the class."""
