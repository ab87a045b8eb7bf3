# CINCER: interactive cleaning with counter-examples, one job per repeat.


rule clean_interactively:
    input:
        features=host_file(rules.fetch_data.output.features),
    output:
        trace=paths.LOOP_TRACE,
        questions=paths.LOOP_QUESTIONS,
        record=paths.record(paths.LOOP_TRACE, "clean_interactively"),
    log:
        "<logs>/{dataset}/{model}/cincer/{loop}/{noise}-{ratio}/{inspector}-{threshold}/{negotiator}/seed-{seed}/repeat-{repeat}.log",
    benchmark:
        "<benchmarks>/{dataset}/{model}/cincer/{loop}/{noise}-{ratio}/{inspector}-{threshold}/{negotiator}/seed-{seed}/repeat-{repeat}.jsonl"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(loop_memory(one_negotiator)),
    params:
        **stage(
            "papers.cincer.stage:clean_interactively",
            model="{model}",
            model_settings=model_settings,
            protocol=settings("loop"),
            noise="{noise}",
            ratio="{ratio}",
            inspector="{inspector}",
            inspector_settings=settings("inspector"),
            threshold=lambda wildcards: float(wildcards.threshold),
            negotiator="{negotiator}",
            negotiator_settings=settings("negotiator"),
            seed=lambda wildcards: int(wildcards.seed),
            repeat=lambda wildcards: int(wildcards.repeat),
            device=CONFIG["device"],
        ),
    script:
        "../scripts/run_stage.py"


rule gather_loops:
    input:
        parts=collect_problem(rules.clean_interactively.output.trace),
    output:
        traces=paths.LOOP_TRACES,
    log:
        "<logs>/gather_loops/<study>/{dataset}-{model}.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "papers.cincer.summary:gather_loops",
            cells=problem_rows,
        ),
    script:
        "../scripts/run_stage.py"


rule summarise_loops:
    input:
        traces=collect_problems(rules.gather_loops.output.traces),
    output:
        summary=paths.LOOP_SUMMARY,
        table="<study>/tables/cincer.csv",
    log:
        "<logs>/summarise_loops/<study>/summary.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "papers.cincer.summary:summarise_loops",
        ),
    script:
        "../scripts/run_stage.py"


rule tabulate_questions:
    input:
        traces=collect_problems(rules.gather_loops.output.traces),
    output:
        table="<study>/tables/cincer-questions.csv",
    log:
        "<logs>/tabulate_questions/<study>/table.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "papers.cincer.question_budget:tabulate_questions",
        ),
    script:
        "../scripts/run_stage.py"


rule plot_loops:
    input:
        traces=rules.gather_loops.output.traces,
    output:
        figures=figure_files(
            "<study>/figures/{dataset}/cincer-{model}/{question}-{panels}",
            "loops",
            "Interactive cleaning",
        ),
        legend=plain_files(
            "<study>/figures/{dataset}/cincer-{model}/{question}-{panels}-legend"
        ),
        table=table_file(
            "<study>/tables/{dataset}/cincer-{model}/{question}-{panels}.csv",
            "loops",
            "Interactive cleaning",
        ),
    log:
        "<logs>/plot_loops/<study>/{dataset}-{model}-{question}-{panels}.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "papers.cincer.figures.loops:plot_loops",
            question="{question}",
            panels="{panels}",
            loops=asking_loops,
            style_by=CONFIG["figures"]["style_by"],
        ),
    script:
        "../scripts/run_stage.py"


rule plot_loop_precision:
    input:
        traces=rules.gather_loops.output.traces,
    output:
        figures=figure_files(
            "<study>/figures/{dataset}/cincer-{model}/precision",
            "loop_precision",
            "Interactive cleaning",
        ),
        legend=plain_files("<study>/figures/{dataset}/cincer-{model}/precision-legend"),
        table=table_file(
            "<study>/tables/{dataset}/cincer-{model}/precision.csv",
            "loop_precision",
            "Interactive cleaning",
        ),
    log:
        "<logs>/plot_loop_precision/<study>/{dataset}-{model}.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "papers.cincer.figures.loop_precision:plot_loop_precision",
        ),
    script:
        "../scripts/run_stage.py"


rule plot_loop_gallery:
    input:
        features=host_file(rules.fetch_data.output.features),
        questions=collect_pairs(rules.clean_interactively.output.questions),
    output:
        figures=figure_files(
            "<study>/figures/{dataset}/cincer-{model}/pairs",
            "loop_gallery",
            "Interactive cleaning",
        ),
    log:
        "<logs>/plot_loop_gallery/<study>/{dataset}-{model}.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "papers.cincer.figures.loop_gallery:plot_loop_gallery",
            pairs=CONFIG["figures"]["pairs"],
        ),
    script:
        "../scripts/run_stage.py"


rule plot_loop_thresholds:
    input:
        traces=rules.gather_loops.output.traces,
    output:
        figures=figure_files(
            "<study>/figures/{dataset}/cincer-{model}/thresholds",
            "loop_thresholds",
            "Interactive cleaning",
        ),
        table=table_file(
            "<study>/tables/{dataset}/cincer-{model}/thresholds.csv",
            "loop_thresholds",
            "Interactive cleaning",
        ),
    log:
        "<logs>/plot_loop_thresholds/<study>/{dataset}-{model}.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "papers.cincer.figures.loop_thresholds:plot_loop_thresholds",
            loops=silent_loops,
        ),
    script:
        "../scripts/run_stage.py"


rule measure_leave_one_out:
    input:
        features=host_file(rules.fetch_data.output.features),
    output:
        changes=paths.LOOP_CHANGES,
        record=paths.record(paths.LOOP_CHANGES, "measure_leave_one_out-{repeat}"),
    log:
        "<logs>/measure_leave_one_out/<study>/{dataset}/{model}/{loop}/{noise}-{ratio}/{refit}/seed-{seed}/repeat-{repeat}.log",
    benchmark:
        "<benchmarks>/measure_leave_one_out/<study>/{dataset}/{model}/{loop}/{noise}-{ratio}/{refit}/seed-{seed}/repeat-{repeat}.jsonl"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(loop_memory(influence_negotiators)),
    params:
        **stage(
            "papers.cincer.leave_one_out:measure_leave_one_out",
            model="{model}",
            model_settings=model_settings,
            protocol=settings("loop"),
            noise="{noise}",
            ratio="{ratio}",
            refit="{refit}",
            negotiators=influence_negotiators,
            seed=lambda wildcards: int(wildcards.seed),
            repeat=lambda wildcards: int(wildcards.repeat),
            device=CONFIG["device"],
        ),
    script:
        "../scripts/run_stage.py"


rule summarise_leave_one_out:
    input:
        tables=influence_files,
    output:
        summary=paths.LOOP_INFLUENCE,
    log:
        "<logs>/summarise_leave_one_out/<study>/summary.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "evaluation.summary:summarise",
            cells=influence_rows,
        ),
    script:
        "../scripts/run_stage.py"


rule plot_loop_influence:
    input:
        changes=rules.summarise_leave_one_out.output.summary,
    output:
        figures=figure_files(
            "<study>/figures/cincer-influence",
            "loop_influence",
            "Interactive cleaning",
        ),
        table=table_file(
            "<study>/tables/cincer-influence.csv",
            "loop_influence",
            "Interactive cleaning",
        ),
    log:
        "<logs>/plot_loop_influence/<study>/figure.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "papers.cincer.figures.loop_influence:plot_loop_influence",
        ),
    script:
        "../scripts/run_stage.py"
