"""The error of unusable arguments."""


class DoctorError(Exception):
    """A reason to send nothing, in one line with the next step. Never quotes the input, which may be a token."""
