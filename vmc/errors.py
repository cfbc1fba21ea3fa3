"""The one error that a user is meant to read."""


class VmcError(Exception):
    """Bad input or a failed precondition, told without a traceback (exit status 1).

    Args:
        problem: what was found and what was expected, naming the culprit.
        hint: the next step, usually a command.
    """

    def __init__(self, problem: str, hint: str | None = None) -> None:
        super().__init__(problem, hint)
        self.problem = problem
        self.hint = hint

    def __str__(self) -> str:
        return self.problem if self.hint is None else f"{self.problem}\n  {self.hint}"
