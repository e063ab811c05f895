"""The models that remove motion blur from CT images."""

from __future__ import annotations

from typing import Any

from .record import Record


def ct_deblur(
    image_shape: tuple = (256, 256, 3),
    ngf: int = 64,
    ndf: int = 64,
    n_blocks: int = 9,
    norm: str = "instance",
    dropout: float = 0.5,
    content: str = "perceptual",
    distance: str = "mse",
    vgg_weights: Any = "imagenet",
    learning_rate: Any = 1e-4,
    jit_compile: Any = "auto",
    **options: Any,
) -> Any:
    """`training.CTDeblurGAN` with its networks, compiled; `options` are its other arguments. Both take any size."""
    from .. import losses, models, training

    networks, shape = models.ct_deblur, (None, None, image_shape[-1])
    perceptual = losses.PerceptualLoss("vgg19", pre_activation=True, distance=distance, weights=vgg_weights)
    trainer = training.CTDeblurGAN(
        networks.generator_model(shape, ngf, n_blocks, norm, dropout=dropout),
        networks.discriminator_model(shape, ndf, norm=norm),
        content=perceptual if content == "perceptual" else content,
        **options,
    )
    trainer.compile(learning_rate=learning_rate, jit_compile=jit_compile)
    return trainer


def pix2pix(
    image_shape: tuple = (256, 256, 3),
    ngf: int = 64,
    ndf: int = 64,
    num_downs: int = 8,
    norm: str = "instance",
    dropout: float = 0.5,
    l1_weight: float = 100.0,
    learning_rate: Any = 2e-4,
    jit_compile: Any = "auto",
) -> Any:
    """`training.Pix2Pix` with its networks, compiled. Both take any size that can be halved `num_downs` times."""
    from .. import models, training

    networks, shape = models.pix2pix, (None, None, image_shape[-1])
    trainer = training.Pix2Pix(
        networks.generator_model(shape, ngf, num_downs, norm, dropout),
        networks.discriminator_model(shape, ndf, norm=norm),
        l1_weight,
    )
    trainer.compile(learning_rate=learning_rate, jit_compile=jit_compile)
    return trainer


_CT = {"content": "perceptual", "distance": "mse", "content_weight": 100.0, "learning_rate": 1e-4}

RECORDS = (
    Record(
        "ct_deblur",
        "blur",
        "DeblurGAN for CT: ResNet under a VGG19 perceptual loss and a WGAN-GP critic (seed 003).",
        ct_deblur,
        takes=("training.CTDeblurGAN",),
        presets={
            "recommended": _CT,
            "seed": {**_CT, "distance": "mae"},
            "small": {**_CT, "content": "l1", "ngf": 16, "ndf": 16, "n_blocks": 3, "dropout": 0.0, "critic_updates": 1,
                      "learning_rate": 1e-3},
        },
        scaling="window",
        channels=3,
        multiple=4,
        smallest=8,
        batch_size=2,
        patch=256,
        source="KupynOrest/DeblurGAN@00f6ab1 (BSD), seed 003",
        parity="forward passes, penalty and two batches of training: tests/golden/kupyn_*.npz",
    ),
    Record(
        "pix2pix",
        "blur",
        "Pix2Pix: U-Net under an L1 loss and a critic of input and output, the comparator of seed 003.",
        pix2pix,
        presets={
            "recommended": {"learning_rate": 2e-4, "l1_weight": 100.0},
            "small": {"learning_rate": 1e-3, "l1_weight": 100.0, "ngf": 16, "ndf": 16, "num_downs": 6},
        },
        scaling="window",
        channels=3,
        multiple=256,
        batch_size=2,
        patch=256,
        source="KupynOrest/DeblurGAN@00f6ab1 (BSD), after Isola et al.",
        parity="forward passes and one optimiser step: tests/golden/pix2pix_unet.npz",
    ),
)
