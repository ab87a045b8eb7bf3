# The audit of a file or folder of the user's own, one job; `glitchtrace audit` runs the same function.

AUDIT = CONFIG["audit"]
AUDITED = checked(audit_files, AUDIT["data"], AUDIT["name"]) if AUDIT["data"] else {}


if AUDITED:

    rule audit_data:
        input:
            data=local(AUDIT["data"]),
        output:
            **AUDITED,
        log:
            "<logs>/audit/audit_data.log",
        conda:
            "../../envs/environment.yaml"
        threads: 1
        resources:
            mem_mb=growing(2000),
            runtime=lasting(720),
        params:
            **stage("audit.run:run_audit", settings=AUDIT["settings"]),
        script:
            "../scripts/run_stage.py"


rule audit:
    input:
        audited,
    localrule: True
