"""Builds the optional native kernel; everything else about the package stands in pyproject.toml.

``optional``: where there is no compiler, or it fails, mvc is installed without the kernel and does the same
in numpy. The kernel is no Python module, it is loaded by ctypes; building it as an extension gives it a name
and a place.
"""

import sys

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "mvc.codecs._kernel",
            sources=["mvc/codecs/_kernel.c"],
            depends=["mvc/codecs/_lane.h", "mvc/codecs/_prices.h", "mvc/codecs/_shares.h", "mvc/codecs/_vector.h"],
            extra_compile_args=[]
            if sys.platform == "win32"
            else ["-std=c99", "-O3", "-g0", "-fvisibility=hidden"],
            optional=True,
        )
    ]
)
