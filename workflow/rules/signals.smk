# Signals: all scores of one cell in one job, from its class profiles.


rule score_signals:
    input:
        profile=rules.profile_influence.output.profile,
    output:
        signals=paths.SIGNALS,
        record=paths.record(paths.SIGNALS, "score_signals"),
    log:
        "<logs>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/{estimator}/score_signals.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "detectors.stage:score_signals",
            detectors=list(registry.names("signal")),
            settings=settings("estimator"),
        ),
    script:
        "../scripts/run_stage.py"
