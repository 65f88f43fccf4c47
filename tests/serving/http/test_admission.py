from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from components.contracts.errors import UnavailableError
from components.runtime.patience import Patience
from components.serving.http.admission import Admission


def test_each_kind_has_places_of_its_own() -> None:
    async def filled() -> None:
        admission = Admission(at_once=1, waiting=1, light=2)
        with ExitStack() as here:
            for light, places in ((False, 2), (True, 3)):
                for _ in range(places):
                    here.enter_context(admission.waiting(light=light))
                with pytest.raises(UnavailableError, match="queue is full"), admission.waiting(light=light):
                    pass
            assert admission.present == 5
            async with admission.turn(Patience()), admission.turn(Patience(), light=True):
                async with admission.turn(Patience(1.0), light=True):
                    pass
                with pytest.raises(UnavailableError, match="no time"):
                    async with admission.turn(Patience(0.05)):
                        pass
        assert admission.present == 0
        await asyncio.wait_for(admission.quiet(), 1)

    asyncio.run(filled())
