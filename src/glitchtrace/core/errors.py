"""The one exception that a user is meant to read."""


class GlitchtraceError(Exception):
    """Bad input, said in one line: which key or file is wrong, and the remedy.

    Jobs print the message without a traceback and write nothing; any other exception is a defect of
    ours and keeps its traceback.
    """
