"""The models that enlarge images by four."""

from __future__ import annotations

from typing import Any

from .record import Original, Record


def srrescycgan(
    image_shape: tuple = (320, 320, 3),
    filters: int = 64,
    n_blocks: int = 5,
    projection: bool = False,
    spectral_norm: bool = False,
    vgg_weights: Any = "imagenet",
    learning_rate: Any = 1e-4,
    jit_compile: Any = "auto",
    **options: Any,
) -> Any:
    """`training.SRResCycGAN` with its networks, compiled; `options` are its other arguments.

    The generators take any size; the critic of large images that of `image_shape`, of at least 188.
    """
    from .. import models

    generator = models.srrescycgan.Generator_HR((None, None, image_shape[-1]), filters, n_blocks, projection)
    return _cycle(generator, image_shape, filters, spectral_norm, vgg_weights, learning_rate, jit_compile, options)


def srresdnet(
    image_shape: tuple = (320, 320, 3),
    depth: int = 5,
    filters: int = 64,
    spectral_norm: bool = False,
    vgg_weights: Any = "imagenet",
    learning_rate: Any = 1e-4,
    jit_compile: Any = "auto",
    **options: Any,
) -> Any:
    """As `srrescycgan` with the generator of the PyTorch systems it was made after; `filters` are those of the others."""
    from .. import models

    generator = models.srrescycgan.SRResDNet((None, None, image_shape[-1]), depth=depth)
    return _cycle(generator, image_shape, filters, spectral_norm, vgg_weights, learning_rate, jit_compile, options)


def _cycle(
    generator: Any, image_shape: tuple, filters: int, spectral_norm: bool, vgg_weights: Any, learning_rate: Any,
    jit_compile: Any, options: dict[str, Any],
) -> Any:
    import keras

    from .. import losses, models, training

    networks, any_size = models.srrescycgan, (None, None, image_shape[-1])
    critic_shape = tuple(image_shape)
    if not options.get("lambda_adversarial", 1.0):  # it rests, so any size of images will do
        smallest = networks.smallest_critic(2)
        critic_shape = (*(max(n, smallest) for n in critic_shape[:2]), critic_shape[-1])
    trainer = training.SRResCycGAN(
        generator,
        networks.Generator_LR(any_size, filters),
        networks.Discriminator_HR(critic_shape, filters, spectral_norm),
        networks.Discriminator_LR(any_size, filters, spectral_norm),
        **options,
    )
    schedule = isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule)
    make = keras.optimizers.Adam if schedule else training.adam_opt
    optimizers = [make(learning_rate) for _ in range(4)]
    perceptual = losses.PerceptualLoss("vgg19", "block3_conv3", preprocess="imagenet", weights=vgg_weights)
    trainer.compile(*optimizers, losses={"perceptual": perceptual}, jit_compile=jit_compile)
    return trainer


_PUBLISHED = {"learning_rate": 1e-4, "lambda_cyc": 10.0, "lambda_content": 5.0}
_CONTENT_ONLY = {"lambda_content": 1.0, "lambda_cyc": 0.0, "lambda_perceptual": 0.0, "lambda_adversarial": 0.0,
                 "lambda_total_variation": 0.0}
_SMALL = {"learning_rate": 1e-3, "filters": 16}

RECORDS = (
    Record(
        "srrescycgan",
        "superres",
        "SRResCycGAN: two generators and two critics in a cycle, four times the size (seed 002).",
        srrescycgan,
        system="SRResCycGAN, 4x super-resolution (seed 002)",
        builder="models.srrescycgan.Generator_HR",
        training_class="training.SRResCycGAN",
        takes=("training.SRResCycGAN",),
        presets={
            "recommended": _PUBLISHED,
            "content": {**_CONTENT_ONLY, "learning_rate": 1e-4},
            "small": {**_CONTENT_ONLY, **_SMALL},
            "small_gan": {**_PUBLISHED, **_SMALL},
        },
        value_range="0..255 in and out, cut there",
        sizes="any; the critic of large images that of image_shape, at least 188",
        scaling="volume",
        channels=3,
        multiple=4,
        smallest=188,
        batch_size=2,
        patch=320,
        originals=(Original("JanPanjan/SRResCycGAN_MRI", "", "none stated; re-implemented from its description"),),
        published={"batch_size": 8, "epochs": "10 in the script, 1 in the notebook; stopped after 417 steps",
                   "optimizer": "four Adam(1e-4, 0.9, 0.999), halved every 10,000 steps", "lambda_cyc": 10, "lambda_content": 5,
                   "image_size": "80 to 320", "volumes": "602 to train, 130 to validate"},
        parity="forward passes of its four networks to 1e-4 relative, losses, pairs, and three training steps: seven losses, "
               "gradient norms, every variable: tests/golden/sr_*.npz",
    ),
    Record(
        "srresdnet",
        "superres",
        "SRResDNet: residual denoiser with a trainable projection, the generator of SRResCGAN and SRResCycGAN.",
        srresdnet,
        system="SRResCGAN and SRResCycGAN, 4x super-resolution of photographs",
        builder="models.srrescycgan.SRResDNet",
        training_class="training.SRResCycGAN",
        takes=("training.SRResCycGAN",),
        presets={
            "recommended": _PUBLISHED,
            "content": {**_CONTENT_ONLY, "learning_rate": 1e-4},
            "small": {**_CONTENT_ONLY, **_SMALL, "depth": 2},
        },
        value_range="0..255 in and out, cut there",
        sizes="any; the critic of large images that of image_shape, at least 188",
        scaling="volume",
        channels=3,
        multiple=4,
        smallest=188,
        batch_size=2,
        patch=320,
        originals=(Original("RaoUmer/SRResCGAN", "cfb4217", "MIT"),),
        published={"batch_size": 16, "steps": 51000, "optimizer": "Adam(1e-4), halved at 5, 10, 20 and 30 thousand steps",
                   "image_size": "32 to 128", "losses": "10 L1, VGG19 features, total variation, relativistic GAN"},
        parity="forward passes to 1e-4, trainable projection and its gradients, noise estimate, the published weights on real "
               "images: tests/golden/sr_upstream_*.npz",
    ),
)
