"""Fails on purpose: the caller gets status 500 and this traceback, and nothing of the host."""


def divide(a, b):
    return a / b


def handler(event):
    return divide(1, 0)
