"""The workflow stands beside the package in a checkout and inside it, as ``glitchtrace/shipped``, in a wheel."""

from pathlib import Path
from shutil import copyfile, copytree, rmtree

from setuptools import setup
from setuptools.command.build_py import build_py


class WithWorkflow(build_py):
    """Copies what a run needs: rules, scripts, schema, configuration and the environment that jobs may ask for."""

    def run(self) -> None:
        """Build the package, then add the workflow."""
        super().run()
        if self.editable_mode:
            return
        source, target = Path(__file__).parent, Path(self.build_lib) / "glitchtrace/shipped"
        rmtree(target, ignore_errors=True)
        for folder in ("workflow", "config"):
            copytree(source / folder, target / folder)
        (target / "envs").mkdir()
        for name in ("Snakefile", "envs/environment.yaml"):
            copyfile(source / name, target / name)


setup(cmdclass={"build_py": WithWorkflow})
