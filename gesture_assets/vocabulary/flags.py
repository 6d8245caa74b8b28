"""The words that people and programs write for true and for false.

Belongs here: the words, in lower case. Does not belong here: which column holds a flag (a source's description).
"""

TRUE = ("1", "true", "t", "yes", "y", "1.0")
FALSE = ("0", "false", "f", "no", "n", "0.0")
