"""The error that the command line shows to the user, and the interrupt of a service that ends."""


class VmcError(Exception):
    """Bad input or a failed precondition. The command line prints it without a traceback and exits with status 1.

    Args:
        problem: names the faulty file, option or value, and says what was found and what was expected.
        hint: the next step, usually a command.
    """

    def __init__(self, problem: str, hint: str | None = None) -> None:
        super().__init__(problem, hint)
        self.problem = problem
        self.hint = hint

    def __str__(self) -> str:
        return self.problem if self.hint is None else f"{self.problem}\n  {self.hint}"


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends a command as Ctrl-C does, after a checkpoint, with another status."""
