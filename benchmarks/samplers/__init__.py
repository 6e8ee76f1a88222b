"""The posterior of ``dirichlet`` as users of other samplers would write it.

One file a sampler, each with the functions of ``benchmarks.samplers.child.Sampler``. Only
``ours`` imports ``calib``: the others run in an environment of their own, from arrays alone.
"""
