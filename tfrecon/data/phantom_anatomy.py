"""The anatomies of the demo phantoms: an axial brain, a coronal knee and a short-axis heart, each person different."""

from collections.abc import Callable, Sequence

import numpy as np

from .phantom_canvas import Array, Scene, Texture, ellipse, smooth_union, tree


class Brain:
    """Axial head: scalp, skull, folded cortex, ventricles, deep grey nuclei. z runs from -1 (low) to 1 (vertex)."""

    def __init__(self, rng: np.random.Generator, scan: np.random.Generator, texture: Texture):
        self.radii = np.array([rng.uniform(0.66, 0.74), rng.uniform(0.82, 0.9)])
        self.angle = rng.normal(0, 0.05)
        self.wobble = rng.normal(0, [0.012, 0.008, 0.004, 0.004, 0.003, 0.003])
        self.ventricle = rng.uniform(0.8, 1.4)
        self.skull = rng.uniform(0.045, 0.07)
        self.folds = texture(rng.uniform(0.2, 0.25), 0.16, 0.9)
        self.bend = texture(0.9, 0.3, 0.5)
        self.grain = texture(0.07, 0.4, 2.0)
        self.lesions = rng.uniform([-0.4, -0.5, -0.6, 0.012], [0.4, 0.5, 0.6, 0.035], (rng.integers(0, 5), 4))
        t1 = scan.random() < 0.5
        jitter = scan.uniform(0.92, 1.08, 6)
        tissue = [0.95, 0.14, 0.74, 0.47, 0.12, 0.40] if t1 else [0.62, 0.14, 0.32, 0.50, 0.95, 0.85]
        self.fat, self.bone, self.white, self.grey, self.fluid, self.lesion = np.multiply(tissue, jitter)

    def draw(self, scene: Scene, z: float) -> None:
        z = 0.22 + 0.8 * z  # the slices worth showing lie above the skull base
        size = np.sqrt(1 - 0.42 * max(z + 0.1, 0.0) ** 2)
        bend = 0.012 * self.bend(z)
        head = ellipse(scene.x + bend, scene.y, (0, 0), self.radii * size, self.angle, self.wobble)
        scene.paint(scene.inside(head), self.fat)
        scene.paint(scene.inside(head + 0.035), 0.45 * self.fat)
        scene.paint(scene.inside(head + 0.05), self.bone)
        marrow = np.abs(head + 0.055 + self.skull / 2) - 0.12 * self.skull
        scene.paint(scene.inside(marrow), 0.45 * self.fat)
        scene.paint(scene.inside(head + 0.06 + self.skull), self.fluid)
        self._cortex(scene, z, head + 0.085 + self.skull, bend)
        self._nuclei(scene, z, size)
        self._ventricles(scene, z, size)
        for x, y, height, radius in self.lesions:
            extent = radius * np.exp(-8 * (z - height) ** 2)
            if extent > scene.pixel / 3:
                scene.spot((x * size, y * size), (extent, 0.8 * extent), self.lesion, softness=2)

    def _cortex(self, scene: Scene, z: float, brain: Array, bend: Array) -> None:
        """White matter with a grey ribbon along the zero lines of a band-pass field: these look like gyri and sulci."""
        folds = np.abs(self.folds(z))
        depth = np.clip((brain + 0.30) / 0.16, 0, 1)  # 1 near the surface, 0 in the centre
        ribbon = np.clip((0.72 * depth - folds) / 0.2 + 0.5, 0, 1) * (depth > 0)
        ribbon = np.maximum(ribbon, scene.inside(-brain - 0.04, 2))
        sulcus = np.clip((0.24 * depth - folds) / 0.14 + 0.5, 0, 1) * np.clip(4 * depth - 0.8, 0, 1)
        midline = scene.x * np.cos(self.angle) + scene.y * np.sin(self.angle) + 1.2 * bend
        corpus = np.clip((np.abs(scene.y) - (0.30 if z < 0.55 else -1.0)) / 0.08, 0, 1)  # spares the corpus callosum
        cleft = scene.inside(np.abs(midline) - 0.010) * corpus
        ribbon = np.maximum(ribbon, scene.inside(np.abs(midline) - 0.045, 2) * corpus)
        tissue = self.white + ribbon * (self.grey - self.white) + 0.015 * self.grain(z)
        tissue = tissue + np.maximum(sulcus, cleft) * (self.fluid - tissue)
        scene.paint(scene.inside(brain), tissue)

    def _nuclei(self, scene: Scene, z: float, size: float) -> None:
        extent = 1 - 2.2 * (z + 0.15) ** 2
        if extent <= 0.1:
            return
        for side in (-1, 1):
            scene.spot((side * 0.10 * size, 0.10), (0.075 * extent, 0.115 * extent), self.grey, side * 0.4, 2)
            scene.spot((side * 0.25 * size, -0.03), (0.055 * extent, 0.15 * extent), self.grey, -side * 0.35, 2)
            scene.spot((side * 0.13 * size, -0.2), (0.04 * extent, 0.075 * extent), self.grey, -side * 0.3, 2)

    def _ventricles(self, scene: Scene, z: float, size: float) -> None:
        extent = 1 - 1.6 * (z - 0.1) ** 2
        if extent <= 0.1:
            return
        width = 0.055 * self.ventricle * extent
        for side in (-1, 1):
            t = np.linspace(0, 1, 9)
            x = side * size * (0.045 + 0.10 * (2 * t - 1) ** 2 + 0.06 * t**2)
            points = np.stack([x, size * extent * (-0.24 + 0.58 * t)], 1)
            scene.line(points, width * (0.65 + 0.9 * np.abs(t - 0.45)), self.fluid)
        if z < 0.1:
            scene.line(np.array([[0, -0.04], [0, 0.2]]), 0.4 * width, self.fluid)


class Knee:
    """Coronal knee: femur, tibia, fibula, cartilage, menisci, ligaments, muscles. z runs from front to back."""

    def __init__(self, rng: np.random.Generator, scan: np.random.Generator, texture: Texture):
        self.size = rng.uniform(0.92, 1.06)
        self.side = rng.choice([-1, 1])
        self.joint = rng.uniform(-0.06, 0.08)
        self.gap = rng.uniform(0.045, 0.065)
        self.leg = rng.uniform(0.74, 0.82)
        self.tilt = rng.normal(0, 0.05)
        self.bend = texture(1.1, 0.3, 0.4)
        self.trabeculae = texture(0.06, 0.35, 1.5)
        self.marrow = texture(0.45, 0.5, 0.8)
        self.fibres = texture(0.10, 0.4, 1.2)
        self.vessels = rng.uniform([-0.6, -1.5, 0.010], [0.6, 1.5, 0.024], (30, 3))
        fat_saturated = scan.random() < 0.4
        tissue = [0.22, 0.30, 0.42, 0.95, 1.0] if fat_saturated else [0.92, 0.72, 0.36, 0.62, 0.8]
        values = np.multiply(tissue, scan.uniform(0.93, 1.07, 5))
        self.fat, self.bone, self.muscle, self.cartilage, self.fluid = values

    def draw(self, scene: Scene, z: float) -> None:
        x = self.side * (scene.x + self.tilt * scene.y) + 0.03 * self.bend(z)
        x, y = x / self.size, (scene.y - self.joint) / self.size
        self._soft_tissue(scene, x, y, z)
        femur, tibia, fibula = self._bones(x, y, z)
        self._paint_bone(scene, fibula, z)
        self._paint_bone(scene, tibia, z)
        self._paint_bone(scene, femur, z)
        self._joint(scene, x, y, z, femur, tibia)

    def _soft_tissue(self, scene: Scene, x: Array, y: Array, z: float) -> None:
        leg = np.abs(x) - self.leg * (1 - 0.10 * np.cos(2.2 * y) + 0.05 * y) + 0.03 * z**2
        scene.paint(scene.inside(leg), self.fat)
        scene.paint(scene.inside(np.abs(leg + 0.012) - 0.008), 0.5 * self.muscle)  # skin
        stripes = 0.06 * self.fibres(z) + 0.07 * np.sin(45 * x + 8 * y * np.sign(x) + 1.5 * self.fibres(0.3 * z))
        for side, top in ((-1, -1), (1, -1), (-1, 1), (1, 1)):
            centre = (side * (0.52 if top < 0 else 0.48), top * 0.95)
            belly = ellipse(x, y, centre, (0.19 + 0.03 * z * side, 0.72), side * top * 0.08)
            belly = np.maximum(belly + 0.012 * self.bend(z), leg + 0.045)
            scene.paint(scene.inside(belly), self.muscle * (1 + stripes))
            septum = np.abs(x - centre[0] - 0.05 * np.sin(3 * y + side)) - 0.006
            scene.paint(scene.inside(septum) * scene.inside(belly + 0.03), 0.8 * self.fat)
        for px, py, radius in self.vessels:
            if abs(px) > 0.28:  # between the bones and the skin
                scene.spot((px, py + 0.05 * z), (radius, radius * 1.5), 0.08 + 0.9 * self.fluid * (px > 0))

    def _bones(self, x: Array, y: Array, z: float) -> tuple[Array, Array, Array]:
        depth = 1 - 0.12 * z**2
        shaft = np.abs(x) - 0.22 - 0.26 * np.exp(-((y + 0.30) / 0.26) ** 2) * depth
        femur = np.maximum(shaft, y + 0.30)
        for side in (-1, 1):
            condyle = ellipse(x, y, (side * 0.265, -0.25), (0.235 * depth, 0.23))
            femur = smooth_union(femur, condyle, blend=0.06)
        notch = ellipse(x, y, (0, -0.04), (0.085 + 0.05 * max(z, -0.5), 0.20 + 0.10 * z))
        femur = np.maximum(femur, -notch)
        plateau = self.gap + 0.03 * np.cos(9 * x) * (np.abs(x) < 0.35) - 0.03
        tibia = np.abs(x) - 0.20 - 0.29 * depth * np.exp(-((y - 0.08) / 0.30) ** 2)
        tibia = np.maximum(tibia, plateau - y)
        spines = ellipse(x, y, (0, self.gap + 0.02), (0.09, 0.075))
        tibia = smooth_union(tibia, spines, blend=0.05)
        fibula = smooth_union(ellipse(x, y, (0.53, 0.40), (0.085, 0.10)), np.maximum(np.abs(x - 0.50) - 0.05, 0.4 - y))
        return femur, tibia, np.maximum(fibula, -tibia + 0.02) if z > -0.5 else np.full_like(x, 1.0)

    def _paint_bone(self, scene: Scene, distance: Array, z: float) -> None:
        """Dark cortical shell around marrow with a fine trabecular net, denser under the joint surface."""
        scene.paint(scene.inside(distance), 0.06)
        net = 1 + 0.05 * self.trabeculae(z) + 0.05 * self.marrow(z)
        dense = np.clip(1 + distance / 0.12, 0, 1) * 0.15
        scene.paint(scene.inside(distance + 0.022), self.bone * (net - dense))

    def _joint(self, scene: Scene, x: Array, y: Array, z: float, femur: Array, tibia: Array) -> None:
        bearing = (np.abs(x) < 0.48) & (np.abs(y) < 0.2)
        space = scene.inside(np.abs(x) - 0.46, 3) * (np.minimum(femur, tibia) > 0) * (np.abs(y) < 0.12)
        scene.paint(space * scene.inside(-femur) * scene.inside(-tibia), self.fluid)
        for bone, thickness in ((femur, 0.028), (tibia, 0.024)):
            layer = np.abs(bone - thickness / 2) - thickness / 2
            scene.paint(scene.inside(layer) * bearing, self.cartilage)
        for side in (-1, 1):  # menisci: dark wedges at the rim
            wedge = np.abs(y - self.gap / 2) - 0.28 * np.clip(side * x - 0.26, 0, 0.2) - 0.003
            rim = np.maximum(wedge, np.abs(side * x - 0.38) - 0.12)
            scene.paint(scene.inside(rim) * (femur > 0) * (tibia > 0), 0.07)
            band = np.abs(x - side * (0.515 - 0.10 * (y / 0.6) ** 2)) - 0.012  # collateral ligament
            scene.paint(scene.inside(np.maximum(band, np.abs(y + 0.02) - 0.42)), 0.08)
        cruciate = np.abs(x - (0.5 - 1.1 * z) * 0.35 * (y + 0.1)) - 0.03
        inside_notch = (femur > 0.01) * (tibia > 0.01) * (np.abs(x) < 0.15) * (np.abs(y) < 0.25)
        scene.paint(scene.inside(cruciate, 2) * inside_notch, 0.18 + 0.06 * np.sin(60 * x))


class Heart:
    """Short-axis slice through the chest: ventricles, lungs with vessels, liver, spine. z runs from apex to base."""

    def __init__(self, rng: np.random.Generator, scan: np.random.Generator, texture: Texture):
        self.body = np.array([rng.uniform(0.90, 0.96), rng.uniform(0.68, 0.78)])
        self.wobble = rng.normal(0, [0.012, 0.008, 0.004, 0.004, 0.003, 0.003])
        self.heart = np.array([rng.uniform(0.02, 0.16), rng.uniform(-0.2, -0.1)])
        self.radius, self.wall = rng.uniform(0.19, 0.24), rng.uniform(0.065, 0.10)
        self.fat_layer = rng.uniform(0.05, 0.1)
        self.tilt = rng.normal(0.3, 0.15)
        self.bend = texture(0.9, 0.3, 0.6)
        self.grain = texture(0.08, 0.4, 1.5)
        self.fibres = texture(0.16, 0.4, 1.0)
        self.trees = []
        for side, height, lift in ((-1, -0.02, -0.3), (-1, 0.12, 0.4), (1, -0.02, -0.3), (1, 0.12, 0.4)):
            outward = 0 if side > 0 else np.pi
            self.trees += tree(rng, (0.41 * side, height), outward + side * lift, 0.16, 0.03, 3)
        self.liver_tree = tree(rng, (-0.25, 0.2), np.pi - 0.2, 0.2, 0.035, 3)
        self.liver = rng.uniform(0.7, 1.0)
        values = np.multiply([0.80, 0.36, 0.95, 0.07, 0.42, 0.30], scan.uniform(0.9, 1.1, 6))
        self.fat, self.muscle, self.blood, self.air, self.organ, self.bone = values

    def draw(self, scene: Scene, z: float) -> None:
        bend = 0.02 * self.bend(z)
        body = ellipse(scene.x + bend, scene.y, (0, 0.02), self.body, 0, self.wobble)
        scene.paint(scene.inside(body), 0.5 * self.fat)
        scene.paint(scene.inside(body + 0.015), self.fat)
        scene.paint(scene.inside(body + self.fat_layer), self.muscle * (1 + 0.16 * self.fibres(z)))
        layers = np.abs(body + self.fat_layer + 0.06) - 0.007
        scene.paint(scene.inside(layers), 0.9 * self.fat)
        self._spine(scene, z)
        self._lungs(scene, z, body, bend)
        self._chambers(scene, z)

    def _spine(self, scene: Scene, z: float) -> None:
        scene.spot((0, 0.62), (0.05, 0.12), self.bone)
        for side in (-1, 1):
            scene.spot((side * 0.2, 0.58), (0.15, 0.075), 0.9 * self.muscle, side * 0.2)
            scene.line(np.array([[side * 0.08, 0.46], [side * 0.3, 0.40]]), 0.035, 0.8 * self.bone)
        scene.spot((0, 0.35), (0.13, 0.11), 0.08)
        scene.spot((0, 0.35), (0.115, 0.095), 0.55 * self.fat)
        scene.spot((0, 0.48), (0.06, 0.045), 0.9 * self.blood)
        scene.spot((0, 0.48), (0.033, 0.026), 0.5)

    def _lungs(self, scene: Scene, z: float, body: Array, bend: Array) -> None:
        rim = body + self.fat_layer + 0.12
        lungs = [ellipse(scene.x, scene.y, (side * 0.52, 0.0), (0.36, 0.52), -side * 0.1) for side in (-1, 1)]
        lungs = np.maximum(np.minimum(*lungs), rim + bend)
        scene.paint(scene.inside(lungs), self.air + 0.012 * self.grain(z))
        self._vessels(scene, lungs, self.trees, (0.03 * np.sin(3 * z), 0.03 * z), 0.5 * self.blood)
        ribs = np.abs(np.sin(9 * np.arctan2(scene.y, scene.x) + 2 * z)) - 0.35
        scene.paint(scene.inside(np.abs(rim - 0.045) - 0.018) * np.clip(-ribs / 0.1, 0, 1), 0.10)
        dome = ellipse(scene.x, scene.y, (-0.48, 0.34), (0.40, 0.30 * self.liver * (0.85 - 0.4 * z)), -0.15)
        dome = np.maximum(dome, rim)
        scene.paint(scene.inside(dome), self.organ * (1 + 0.03 * self.grain(z)))
        self._vessels(scene, dome + 0.03, self.liver_tree, (0, 0.04 - 0.05 * z), 0.8 * self.blood)

    def _vessels(self, scene: Scene, organ: Array, tree: list, shift: Sequence[float], value: float) -> None:
        before = scene.image.copy()
        for points, widths in tree:
            scene.line(points + np.asarray(shift), widths, value)
        scene.image = np.where(organ < 0, scene.image, before)  # vessels end at the border of their organ

    def _chambers(self, scene: Scene, z: float) -> None:
        size = 1 - 0.22 * max(-z, 0) ** 1.5
        outer, x, y = self.radius * size + self.wall, scene.x, scene.y
        fat = ellipse(x, y, self.heart + (-0.10, 0.01), (outer + 0.15, outer + 0.035), self.tilt)
        scene.paint(scene.inside(fat), self.fat * (0.9 + 0.08 * self.fibres(z)))
        right = ellipse(x, y, self.heart + (-0.20 * size, 0.02), (outer * 0.95, outer * 0.9), self.tilt)
        scene.paint(scene.inside(right), self.muscle)
        scene.paint(scene.inside(right + 0.022), self.blood * (1 + 0.05 * self.fibres(z)))
        left = ellipse(x, y, self.heart, (outer, outer * 0.96), self.tilt)
        scene.paint(scene.inside(left), self.muscle * (1 + 0.05 * self.grain(z)))
        scene.paint(scene.inside(left + self.wall), self.blood)
        for turn in (0.6, 2.6):  # papillary muscles, and trabeculae along the inner wall
            place = self.heart + 0.62 * self.radius * size * np.array([np.cos(turn), np.sin(turn)])
            scene.spot(place, (0.034, 0.045 * size), self.muscle, turn)
        for turn in np.linspace(0.2, 6.2, 9):
            place = self.heart + 0.97 * self.radius * size * np.array([np.cos(turn), np.sin(turn)])
            scene.spot(place, (0.018, 0.018), self.muscle)
        scene.spot((0.13, 0.30), (0.065, 0.062), self.muscle)
        scene.spot((0.13, 0.30), (0.055, 0.052), self.blood)  # descending aorta


ANATOMIES: dict[str, Callable] = {"brain": Brain, "knee": Knee, "cardiac": Heart}
