"""The blocks of the grid of detection and repair."""

BLOCKS = {
    "grid": {
        "description": (
            "Glitch detection and repair: blocks of cells; each block is the product of its axes and holds "
            "legal combinations only. A study of another system says `grid: []`."
        ),
        "axes": {
            "datasets": {"description": "Dataset names."},
            "models": {"description": "Model names."},
            "glitches": {"description": "Glitch names."},
            "ratios": {
                "description": (
                    "Share of glitches, each a decimal fraction in (0, 1); `clean` for the glitch `none`; "
                    "`native` for a glitch that fixes its own ratio (a mixture)."
                )
            },
            "seeds": {"description": "Run seeds; each drives subset, split, injection and loader order."},
            "estimators": {"description": "Influence estimators.", "default": ["tracin"]},
        },
    }
}
