"""What the figures of the interactive loop ask, and which runs answer.  Standard library only."""

# Question -> negotiators whose lines answer it; None shows all.  The upper bound is a line of its own.
QUESTIONS: dict[str, tuple[str, ...] | None] = {
    "q1": ("ce_removal", "no_ce", "top_fisher"),
    "q3": ("nearest", "practical_fisher", "top_fisher"),
    "signs": (
        "practical_fisher",
        "practical_fisher@contrastive",
        "top_fisher",
        "top_fisher@contrastive",
        "no_ce",
    ),
    "every": None,
}
# F1 and cleaned labels; these with the questions; all that is measured.
PANEL_SETS = ("summary", "questions", "all")
