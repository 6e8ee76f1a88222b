"""Ask language models for the opinion distributions of groups of people.

Import the module that you need (``from elicit.run import elicit_logprob``); importing
the package itself loads nothing.
"""
