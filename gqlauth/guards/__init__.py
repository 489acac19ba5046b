"""Guards: who may have a field.

`guard.py` has the base class and how guards combine, `viewer.py` the guards that ask about the viewer, `placing.py` how
they get onto fields, types and schemas.
"""
