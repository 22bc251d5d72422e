"""Bytes <-> the classes of `models.messages`, for who has a reader or a writer; for Python there are `decode` and `encode`.

A records field is bytes or None, or what `records`, if it is not None, makes of them.
"""

from fiducial.fastpath.wire cimport Reader, Writer

# A message; Malformed if there is none.
cdef object decode_from(Reader* reader, int api_key, int version, bint is_request, object records)
# Write a message; ValueError if it is larger than messages can be.
cdef int encode_into(Writer* writer, object message, int api_key, int version, bint is_request, object records) except -1
