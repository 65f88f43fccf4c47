"""One version against another: the baselines of the same evaluation, earlier evaluations, the champion."""
