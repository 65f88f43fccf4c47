"""Draws a parametric face with OpenCV: identity, pose and action units in, a picture out. About 1.5 ms per frame.

Points are in *face units*: x to the picture's right, y down, the origin between eyes and mouth, half the head's width
is 1. They lie on an ellipsoid that is turned by yaw, pitch and roll and projected orthographically.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from components.datasets.synthetic.action import COLUMN
from components.datasets.synthetic.plan import FACE, SUBJECT, ClipPlan

Points = NDArray[np.float64]
Picture = NDArray[np.uint8]
Colour = tuple[float, float, float]

SHIFT = 4  # OpenCV's fixed-point fraction bits: sub-pixel edges without supersampling
HEAD_SHARE = 0.235  # half the head's width as a share of the picture's side

# Blue, green, red.
SKINS: tuple[Colour, ...] = ((170, 195, 232), (150, 182, 226), (130, 165, 212), (98, 135, 188), (72, 104, 158))
HAIRS: tuple[Colour, ...] = ((28, 30, 36), (38, 52, 78), (60, 92, 130), (96, 146, 190), (44, 60, 120))
GREY: Colour = (170, 172, 176)
IRISES: tuple[Colour, ...] = ((60, 80, 100), (120, 95, 60), (80, 110, 70), (35, 50, 75))
CLOTHES: tuple[Colour, ...] = ((120, 70, 50), (70, 90, 60), (60, 60, 130), (90, 90, 95), (140, 120, 70))
LIP: Colour = (95, 95, 180)
DARK: Colour = (30, 24, 48)
TEETH: Colour = (225, 232, 238)
TONGUE: Colour = (90, 85, 175)
WHITE: Colour = (238, 240, 242)

_S = np.linspace(-1.0, 1.0, 15)
_BOW = 1.0 - _S**2  # 1 in the middle of an arch, 0 at its ends
_CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 20)), np.sin(np.linspace(0, 2 * np.pi, 20))], axis=1)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a person looks like, the same in all their clips."""

    skin: Colour
    hair: Colour
    iris: Colour
    clothes: Colour
    long_hair: bool
    beard: bool
    glasses: bool
    age: float
    jaw: float
    length: float
    eye_gap: float
    eye_size: float
    brow_thickness: float
    lip: float
    nose: float
    mouth: float

    @classmethod
    def of(cls, plan: ClipPlan) -> Identity:
        """The identity of a plan's subject."""
        rng = plan.subject_rng(SUBJECT)
        male = plan.gender == "male"
        age = {"18-29": 0.0, "30-49": 0.35, "50-69": 0.9}[plan.age_band]
        hair = HAIRS[int(rng.integers(len(HAIRS)))]
        return cls(
            skin=SKINS[int(rng.integers(len(SKINS)))],
            hair=_mix(hair, GREY, 0.8 if age > 0.5 and rng.random() < 0.7 else 0.0),
            iris=IRISES[int(rng.integers(len(IRISES)))],
            clothes=CLOTHES[int(rng.integers(len(CLOTHES)))],
            long_hair=bool(rng.random() < (0.1 if male else 0.8)),
            beard=bool(male and rng.random() < 0.3),
            glasses=bool(rng.random() < 0.15),
            age=age,
            jaw=float(rng.uniform(0.62, 0.72) if male else rng.uniform(0.52, 0.62)),
            length=float(rng.uniform(0.96, 1.06)),
            eye_gap=float(rng.uniform(0.40, 0.45)),
            eye_size=float(rng.uniform(0.95, 1.12)) * (1.0 if male else 1.06),
            brow_thickness=float(rng.uniform(0.05, 0.075) if male else rng.uniform(0.035, 0.055)),
            lip=float(rng.uniform(0.8, 1.0) if male else rng.uniform(1.0, 1.25)),
            nose=float(rng.uniform(0.9, 1.15)),
            mouth=float(rng.uniform(0.36, 0.42)),
        )


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Angles in radians; the offset in face units."""

    yaw: float
    pitch: float
    roll: float
    shift_x: float
    shift_y: float


class _Stroke(NamedTuple):
    """A polygon, or a line of `width` face units; `flat` points lie in the head's middle plane."""

    points: Points
    colour: Colour
    flat: bool
    width: float | None


class FacePainter:
    """Paints the frames of one clip; what does not move is prepared once."""

    def __init__(self, plan: ClipPlan) -> None:
        cv2.setNumThreads(1)  # two processes share the cores; threads inside OpenCV only cost here
        self._who = Identity.of(plan)
        self._size = plan.picture_px
        rng = plan.rng(FACE + 100)
        self._unit_px = plan.picture_px * HEAD_SHARE * float(rng.uniform(0.94, 1.06))
        self._centre = np.array([0.5, 0.5]) * plan.picture_px
        self._background = _background(plan.picture_px, rng)
        self._light = _light(plan.picture_px, self._unit_px, rng)
        strength = float(rng.uniform(1.0, 3.5))
        noise = rng.standard_normal((4, plan.picture_px, plan.picture_px)) * strength
        self._noise = np.repeat(np.rint(noise)[..., None], 3, axis=3).astype(np.int16)
        self._canvas: Picture = self._background.copy()
        self._strokes: list[_Stroke] = []
        self._rotation = np.eye(3)
        self._origin = self._centre

    def empty(self, index: int) -> Picture:
        """The picture without the person."""
        self._canvas = self._background.copy()
        return self._grain(index)

    def paint(self, units: NDArray[np.float64], pose: Pose, index: int) -> Picture:
        """One frame, (S, S, 3) uint8 blue-green-red, from a row of action units and a pose."""
        self._canvas = self._background.copy()
        self._strokes = []
        self._turn(pose)
        au = {unit: float(units[column]) for unit, column in COLUMN.items()}
        self._body(au)
        self._skull(au)
        self._folds(au)
        for side in (-1.0, 1.0):
            self._eye(au, side)
            self._brow(au, side)
        self._nose(au)
        self._mouth(au)
        self._fringe()
        self._draw()
        self._shade(pose)
        self._canvas = cv2.GaussianBlur(self._canvas, (3, 3), 0.7)
        return self._grain(index)

    # -- projection and primitives

    def _turn(self, pose: Pose) -> None:
        cos, sin = np.cos(pose.yaw), np.sin(pose.yaw)
        yaw = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
        cos, sin = np.cos(pose.pitch), np.sin(pose.pitch)
        pitch = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
        cos, sin = np.cos(pose.roll), np.sin(pose.roll)
        roll = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        self._rotation = roll @ pitch @ yaw
        self._origin = self._centre + self._unit_px * np.array([pose.shift_x, pose.shift_y])

    def _fill(self, points: Points, colour: Colour, *, flat: bool = False) -> None:
        self._strokes.append(_Stroke(points=points, colour=colour, flat=flat, width=None))

    def _line(self, points: Points, colour: Colour, width: float, *, flat: bool = False) -> None:
        self._strokes.append(_Stroke(points=points, colour=colour, flat=flat, width=width))

    def _crease(self, points: Points, amount: float, width: float) -> None:
        """A fold of the skin; none below a just visible amount, so that it never lightens what is under it."""
        if amount > 0.06:
            self._line(points, self._tone(amount), width)

    def _draw(self) -> None:
        """Projects every stroke at once (one matrix product a frame is most of the speed) and draws them in order."""
        points = np.concatenate([stroke.points for stroke in self._strokes])
        flat = np.repeat([stroke.flat for stroke in self._strokes], [len(stroke.points) for stroke in self._strokes])
        x, y = points[:, 0], points[:, 1] * self._who.length
        depth = np.sqrt(np.clip(1.15 - 0.8 * x**2 - 0.35 * y**2, 0.0, None)) - 0.3
        turned = np.stack([x, y, np.where(flat, 0.0, depth)], axis=1) @ self._rotation[:2].T
        pixels = np.rint((self._origin + self._unit_px * turned) * (1 << SHIFT)).astype(np.int32)
        first = 0
        for stroke in self._strokes:
            outline = pixels[first : first + len(stroke.points)]
            first += len(stroke.points)
            if stroke.width is None:
                cv2.fillPoly(self._canvas, [outline], stroke.colour, cv2.LINE_AA, SHIFT)
            else:
                thickness = max(1, round(stroke.width * self._unit_px))
                cv2.polylines(self._canvas, [outline], False, stroke.colour, thickness, cv2.LINE_AA, SHIFT)

    def _tone(self, amount: float) -> Colour:
        """The skin, darker by an amount of 0 … 1 (redder too, as skin is where it folds)."""
        return _mix(self._who.skin, (40, 45, 80), amount)

    # -- parts

    def _body(self, au: dict[int, float]) -> None:
        who = self._who
        if who.long_hair:
            x = 1.16 * np.cos(np.linspace(np.pi, 2 * np.pi, 15))
            y = -0.35 + 1.15 * np.sin(np.linspace(np.pi, 2 * np.pi, 15))
            top = np.stack([x, y], axis=1)
            self._fill(np.concatenate([top, [[1.12, 1.5], [-1.12, 1.5]]]), _mix(who.hair, (0, 0, 0), 0.25), flat=True)
        self._fill(np.array([[-0.5, 0.7], [0.5, 0.7], [0.52, 2.2], [-0.52, 2.2]]), self._tone(0.28), flat=True)
        shoulders = [[-2.6, 3.0], [-2.3, 1.98], [-0.62, 1.62], [0.0, 1.86], [0.62, 1.62], [2.3, 1.98], [2.6, 3.0]]
        self._fill(np.array(shoulders), who.clothes, flat=True)

    def _skull(self, au: dict[int, float]) -> None:
        who = self._who
        for side in (-1.0, 1.0):
            ear = np.array([side * 1.0, 0.02]) + _CIRCLE * np.array([0.14, 0.26])
            self._fill(ear, self._tone(0.15), flat=True)
        angle = np.linspace(np.pi, 2 * np.pi, 19)
        skull = np.stack([np.cos(angle), -0.15 + 1.2 * np.sin(angle)], axis=1)
        chin = 1.24 + 0.22 * au[26]
        jaw = np.array([[0.99, 0.2], [0.93, 0.55], [who.jaw + 0.1, 0.93], [0.32, chin - 0.04], [0.0, chin]])
        left = jaw[:-1][::-1] * np.array([-1.0, 1.0])
        self._fill(np.concatenate([skull, jaw, left]), who.skin, flat=True)
        if who.beard:
            edge = np.array([[0.98, 0.25], [0.88, 0.5], [0.7, 0.66], [0.42, 0.56], [0.0, 0.52]])
            mirrored = edge[:-1][::-1] * np.array([-1.0, 1.0])
            outline = np.concatenate([edge, mirrored, left[::-1], [[0.0, chin]], jaw[:-1][::-1]])
            self._fill(outline, _mix(who.skin, who.hair, 0.45), flat=True)

    def _fringe(self) -> None:
        who = self._who
        angle = np.linspace(np.pi * 1.02, np.pi * 1.98, 17)
        outer = np.stack([1.06 * np.cos(angle), -0.15 + 1.32 * np.sin(angle)], axis=1)
        inner = np.array([[0.97, -0.3], [0.82, -0.72], [0.35, -0.9], [-0.3, -0.86], [-0.84, -0.7], [-0.97, -0.3]])
        self._fill(np.concatenate([outer, inner]), who.hair, flat=True)

    def _folds(self, au: dict[int, float]) -> None:
        who = self._who
        forehead = max(au[1], au[2])
        for level in (-0.66, -0.76):
            wrinkle = np.stack([0.42 * _S, level - 0.03 * forehead * _BOW], axis=1)
            self._crease(wrinkle, 0.32 * forehead + 0.12 * who.age, 0.02)
        for side in (-1.0, 1.0):
            glabella = np.array([[side * 0.09, -0.5], [side * 0.07, -0.3]])
            self._crease(glabella, 0.55 * au[4], 0.025)
            for height in (-0.12, -0.04, 0.04):  # crow's feet
                feet = np.array([[side * 0.72, height * 0.6 - 0.06], [side * 0.86, height * 1.6 - 0.06]])
                self._crease(feet, 0.4 * au[6] + 0.1 * who.age, 0.02)
            cheek_y = 0.32 - 0.07 * au[6]
            cheek = np.array([side * 0.56, cheek_y]) + _CIRCLE * np.array([0.24, 0.17])
            self._fill(cheek, _mix(who.skin, (130, 140, 240), 0.10 + 0.22 * au[6]))
            bag = np.stack([side * 0.43 + 0.2 * _S, 0.10 - 0.04 * au[6] + 0.05 * _BOW], axis=1)
            self._crease(bag, 0.12 + 0.3 * au[6] + 0.15 * who.age, 0.02)
            fold = max(au[12], au[10], au[9], 0.5 * au[15], 0.35 * who.age)
            out = 0.1 * au[12] + 0.03 * au[20]
            curve = np.array([[0.24, 0.34], [0.38 + 0.5 * out, 0.46], [0.46 + out, 0.62], [0.45 + out, 0.74]])
            shade = 0.35 if who.beard else 0.0  # a fold is darker than the beard that it runs through
            self._crease(curve * np.array([side, 1.0]), 0.5 * fold + shade, 0.03)
        for offset in (-0.08, 0.0, 0.08):
            dimple = np.array([[offset - 0.05, 1.04 - abs(offset)], [offset + 0.05, 1.03 - abs(offset)]])
            self._crease(dimple, 0.45 * au[17], 0.02)

    def _eye(self, au: dict[int, float], side: float) -> None:
        who = self._who
        centre = np.array([side * who.eye_gap, -0.08])
        half = 0.21 * who.eye_size
        closed = au[43]
        upper = who.eye_size * (0.105 + 0.09 * au[5] - 0.035 * au[7] - 0.02 * au[6]) * (1.0 - closed)
        lower = who.eye_size * (0.075 - 0.03 * au[6] - 0.03 * au[7]) * (1.0 - 0.6 * closed)
        top = np.stack([centre[0] + half * _S, centre[1] - upper * _BOW + 0.05 * closed * _BOW], axis=1)
        bottom = np.stack([centre[0] + half * _S, centre[1] + lower * _BOW], axis=1)
        crease = top + np.array([0.0, -0.055 + 0.03 * au[5]])
        self._line(crease, self._tone(0.35), 0.02)
        if upper + lower > 0.03:
            self._fill(np.concatenate([top, bottom[::-1]]), WHITE)
            for radius, colour in ((0.112, who.iris), (0.055, (12, 12, 16))):
                disc = centre + np.array([0.0, -0.01]) + _CIRCLE * radius * who.eye_size
                across = np.clip((disc[:, 0] - centre[0]) / half, -1.0, 1.0)
                arch = 1.0 - across**2
                lids = (centre[1] - (upper - 0.05 * closed) * arch, centre[1] + lower * arch)
                disc[:, 1] = np.clip(disc[:, 1], *lids)
                self._fill(disc, colour)
            glint = centre + np.array([-0.035, -0.045]) + _CIRCLE * 0.022
            if upper > 0.06:
                self._fill(glint, WHITE)
        self._line(top, _mix(who.hair, (10, 10, 20), 0.7), 0.04)
        self._line(bottom, self._tone(0.4), 0.015)
        if who.glasses:
            rim = np.array([side * who.eye_gap, -0.06]) + _CIRCLE * np.array([0.32, 0.25])
            self._line(rim, (50, 45, 45), 0.03)
            if side > 0:
                self._line(np.array([[-0.11, -0.1], [0.11, -0.1]]), (50, 45, 45), 0.03)

    def _brow(self, au: dict[int, float], side: float) -> None:
        who = self._who
        inner = np.array([0.17 - 0.05 * au[4], -0.37 - 0.16 * au[1] + 0.14 * au[4] + 0.04 * au[9]])
        middle = np.array([0.42, -0.45 - 0.12 * max(au[1], au[2]) + 0.10 * au[4]])
        outer = np.array([0.68, -0.36 - 0.14 * au[2] + 0.02 * au[4]])
        along = np.linspace(0.0, 1.0, 9)[:, None]
        control = 2 * middle - (inner + outer) / 2  # a quadratic Bézier curve through the middle point
        curve = (1 - along) ** 2 * inner + 2 * along * (1 - along) * control + along**2 * outer
        width = who.brow_thickness * np.linspace(1.0, 0.35, 9)
        edge = np.concatenate(
            [curve - np.stack([np.zeros(9), width], axis=1), (curve + np.stack([np.zeros(9), width], axis=1))[::-1]]
        )
        self._fill(edge * np.array([side, 1.0]), _mix(who.hair, (20, 20, 30), 0.3))

    def _nose(self, au: dict[int, float]) -> None:
        who = self._who
        lift = 0.06 * au[9] + 0.03 * au[10]
        wide = who.nose * (1.0 + 0.15 * au[9])
        self._line(np.array([[0.07, -0.15], [0.1 * wide, 0.2], [0.15 * wide, 0.33 - lift]]), self._tone(0.25), 0.03)
        tip = np.array([0.0, 0.33 - lift]) + _CIRCLE * np.array([0.13 * wide, 0.09])
        self._fill(tip, _mix(who.skin, (235, 240, 250), 0.15))
        for side in (-1.0, 1.0):
            ala = np.array([[0.13, 0.27 - lift], [0.2, 0.34 - lift], [0.17, 0.41 - lift], [0.1, 0.42 - lift]])
            self._line(ala * np.array([side * wide, 1.0]), self._tone(0.4), 0.03)
            nostril = np.array([side * 0.075 * wide, 0.41 - lift]) + _CIRCLE * np.array([0.04, 0.022])
            self._fill(nostril, self._tone(0.75))
            for level in (-0.02, 0.06):
                wrinkle = np.array([[side * 0.04, level], [side * 0.16, level - 0.06]])
                self._crease(wrinkle, 0.5 * au[9], 0.02)

    def _mouth(self, au: dict[int, float]) -> None:
        who = self._who
        half = who.mouth * (1.0 + 0.24 * au[12] + 0.22 * au[20] - 0.14 * au[23] - 0.16 * au[26])
        corner_y = 0.74 - 0.17 * au[12] + 0.13 * au[15] + 0.03 * au[26]
        gap = 0.09 * au[25] + 0.30 * au[26] * (0.4 + 0.6 * au[25])
        line_y = 0.74 + 0.05 * au[12] - 0.03 * au[15] - 0.05 * au[17]
        upper_y = line_y - 0.25 * gap - 0.08 * au[10] - 0.04 * au[9]
        lower_y = line_y + 0.75 * gap
        thick = who.lip * (1.0 - 0.55 * au[23]) * (1.0 - 0.3 * au[12] * (1 - au[26]))
        x = half * _S
        inner_top = np.stack([x, corner_y + (upper_y - corner_y) * _BOW], axis=1)
        inner_bottom = np.stack([x, corner_y + (lower_y - corner_y) * _BOW], axis=1)
        bow = 0.085 * thick * (1.0 - np.abs(_S)) ** 0.5 - 0.02 * np.exp(-((_S / 0.15) ** 2))
        outer_top = inner_top - np.stack([0 * _S, bow], axis=1)
        outer_bottom = inner_bottom + np.stack([0 * _S, 0.12 * thick * _BOW**0.7], axis=1)
        lip = _mix(_mix(LIP, who.skin, 0.45), (60, 60, 110), 0.05)
        self._fill(np.concatenate([outer_top, outer_bottom[::-1]]), lip)
        if gap + 0.08 * au[10] > 0.02:
            self._fill(np.concatenate([inner_top, inner_bottom[::-1]]), DARK)
            teeth = inner_top + np.stack([0 * _S, np.minimum(0.09, 0.6 * (inner_bottom - inner_top)[:, 1])], axis=1)
            self._fill(np.concatenate([inner_top, teeth[::-1]])[3:-3], TEETH)
            if au[26] > 0.3:
                tongue = np.array([0.0, lower_y - 0.03]) + _CIRCLE * np.array([0.16, 0.05])
                self._fill(tongue, TONGUE)
        self._line(inner_top, _mix(lip, DARK, 0.6), 0.025)
        self._line(outer_bottom[3:-3] + np.array([0.0, 0.06]), self._tone(0.2), 0.02)

    # -- light and camera

    def _shade(self, pose: Pose) -> None:
        margin = (self._light.shape[0] - self._size) // 2
        dx = int(np.clip(round(margin - self._unit_px * pose.shift_x), 0, 2 * margin))
        dy = int(np.clip(round(margin - self._unit_px * pose.shift_y), 0, 2 * margin))
        light = self._light[dy : dy + self._size, dx : dx + self._size]
        self._canvas = cv2.multiply(self._canvas, light, scale=1.0 / 200.0)

    def _grain(self, index: int) -> Picture:
        noise = self._noise[index % len(self._noise)]
        grained: Picture = cv2.add(self._canvas, noise, dtype=cv2.CV_8U)
        return grained


def poses(plan: ClipPlan, times_s: NDArray[np.float64]) -> list[Pose]:
    """A head that is never quite still: slow sines about a resting pose."""
    rng = plan.rng(FACE + 200)
    rest = rng.uniform(-1.0, 1.0, 5) * np.array([0.22, 0.10, 0.06, 0.12, 0.08])
    reach = rng.uniform(0.3, 1.0, 5) * np.array([0.08, 0.05, 0.04, 0.05, 0.03])
    rate_hz = rng.uniform(0.15, 0.6, 5)
    phase = rng.uniform(0, 2 * np.pi, 5)
    tracks = rest + reach * np.sin(2 * np.pi * rate_hz * times_s[:, None] + phase)
    return [
        Pose(yaw=row[0], pitch=row[1], roll=row[2], shift_x=row[3], shift_y=row[4] - 0.05) for row in tracks.tolist()
    ]


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    return tuple(a + (b - a) * share for a, b in zip(first, second, strict=True))  # type: ignore[return-value]


def _background(size: int, rng: np.random.Generator) -> Picture:
    """A blurred room: a wall, a few large shapes."""
    wall = rng.uniform(100, 185) + rng.uniform(-22, 22, 3)
    picture = np.tile(wall, (size, size, 1))
    picture *= np.linspace(1.08, 0.8, size)[:, None, None]
    picture = picture.astype(np.uint8)
    for _ in range(int(rng.integers(2, 5))):
        corner = rng.uniform(-0.1, 0.9, 2) * size
        extent = rng.uniform(0.15, 0.5, 2) * size
        colour = np.clip(wall * rng.uniform(0.55, 1.3), 0, 255).tolist()
        cv2.rectangle(picture, corner.astype(int).tolist(), (corner + extent).astype(int).tolist(), colour, -1)
    blurred: Picture = cv2.GaussianBlur(picture, (0, 0), size / 40)
    return blurred


def _light(size: int, unit_px: float, rng: np.random.Generator) -> Picture:
    """Brightness times 200: an ellipsoid lit from one side, wider than the picture so that it can follow the head."""
    side = size + 2 * int(0.4 * unit_px)
    y, x = (np.mgrid[0:side, 0:side] - side / 2) / unit_px
    depth = np.sqrt(np.clip(1.3 - (x / 1.05) ** 2 - (y / 1.45) ** 2, 0.0, None))
    direction = np.array([rng.uniform(-0.55, 0.55), rng.uniform(-0.45, -0.1), 0.8])
    direction /= np.linalg.norm(direction)
    facing = x * direction[0] / 1.1 + y * direction[1] / 2.1 + depth * direction[2]
    brightness = float(rng.uniform(0.86, 1.06)) * (0.66 + 0.36 * np.clip(facing, 0.0, 1.3))
    # Beyond the head it fades to a flat level, so that no rim of light stands around it.
    edge = np.clip((depth - 0.35) / 0.3, 0.0, 1.0)
    brightness = edge * brightness + (1.0 - edge) * 0.72
    brightness = cv2.GaussianBlur(brightness, (0, 0), unit_px * 0.2)
    light = np.clip(brightness * 200.0, 0, 255).astype(np.uint8)
    return np.repeat(light[..., None], 3, axis=2)
