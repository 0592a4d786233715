//! Reading a request.
