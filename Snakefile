# The workflow from the top of the checkout; its contents page is workflow/Snakefile.
include: "workflow/Snakefile"


workflow.default_target = "all"  # an included file sets none
