"""Builds the C kernels of model/native. Everything else about the package is in pyproject.toml.

The extension is optional: without a compiler the install succeeds and Quatrain computes with torch. It uses
nothing of the interpreter (it is opened with ctypes), so one build serves every Python version: abi3.
Each path asks for its own instructions function by function; no machine flags are needed or wanted here.
"""

import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = Path("model/native/c")


class BuildKernels(build_ext):
    """Adds the few flags that differ between compilers."""

    def build_extensions(self):
        for extension in self.extensions:
            if self.compiler.compiler_type == "msvc":
                extension.extra_compile_args = ["/std:c11", "/O2"]
            else:
                # A contracted multiply-add in one copy of a loop and not in another would change bits.
                extension.extra_compile_args = [
                    "-std=gnu11",
                    "-O3",
                    "-g0",
                    "-ffp-contract=off",
                    "-fvisibility=hidden",
                ]
                extension.libraries = [] if sys.platform == "win32" else ["m", "pthread"]
        super().build_extensions()


setup(
    ext_modules=[
        Extension(
            "quatrain.model.native._kernels",
            sources=sorted(path.as_posix() for path in HERE.glob("*.c")),
            depends=sorted(path.as_posix() for pattern in ("*.h", "*.inc") for path in HERE.glob(pattern)),
            optional=True,
            py_limited_api=True,
        )
    ],
    cmdclass={"build_ext": BuildKernels},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
