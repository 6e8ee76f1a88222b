"""Calibrate the opinion distributions that a language model gives to those that people gave.

Import the module that you need (``from calib.paired import read_table``); importing
the package itself loads nothing.
"""
