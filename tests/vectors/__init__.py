"""Golden data for people without Python, made of the models and of the cases of `fiducial conform`; spec/vectors.md describes it."""
