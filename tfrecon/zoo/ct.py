"""The models that remove motion blur from CT images."""

from __future__ import annotations

from typing import Any

from .record import Original, Record


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
        system="DeblurGAN for motion-blurred CT (seed 003)",
        builder="models.ct_deblur.generator_model",
        training_class="training.CTDeblurGAN",
        takes=("training.CTDeblurGAN",),
        presets={
            "recommended": _CT,
            "seed": {**_CT, "distance": "mae"},
            "small": {**_CT, "content": "l1", "ngf": 16, "ndf": 16, "n_blocks": 3, "dropout": 0.0, "critic_updates": 1,
                      "learning_rate": 1e-3},
        },
        value_range="[-1, 1] in and out: the window's grey levels, what is added clipped to it",
        sizes="any multiple of 4 from 8 (reconstruct pads)",
        scaling="window",
        channels=3,
        multiple=4,
        smallest=8,
        batch_size=2,
        patch=256,
        originals=(Original("KupynOrest/DeblurGAN", "00f6ab1", "BSD"),),
        published={"batch_size": "2 (upstream 1)", "epochs": "5 (upstream 300, the rate falling to 0 over the last 150)",
                   "optimizer": "Adam(1e-4), upstream with betas 0.5 and 0.999", "critic_updates": 5,
                   "gradient_penalty_weight": 10, "content": "VGG19 conv3_3 before its ReLU, weight 100; MSE, in the seed L1",
                   "image_size": 256, "pairs": "14,329, of which 300 to test"},
        parity="forward passes to 1e-4, gradient penalty and its gradient, perceptual loss, motion-blur kernels draw by draw, "
               "and two batches of WGAN-GP training in float64 to 1e-6: tests/golden/kupyn_*.npz, motion_blur.npz",
    ),
    Record(
        "pix2pix",
        "blur",
        "Pix2Pix: U-Net under an L1 loss and a critic of input and output, the comparator of seed 003.",
        pix2pix,
        system="Pix2Pix, the comparator of seed 003",
        builder="models.pix2pix.generator_model",
        training_class="training.Pix2Pix",
        presets={
            "recommended": {"learning_rate": 2e-4, "l1_weight": 100.0},
            "small": {"learning_rate": 1e-3, "l1_weight": 100.0, "ngf": 16, "ndf": 16, "num_downs": 6},
        },
        value_range="[-1, 1] in and out: the window's grey levels, a tanh at the end",
        sizes="any that can be halved num_downs times: multiples of 256 (reconstruct pads)",
        scaling="window",
        channels=3,
        multiple=256,
        batch_size=2,
        patch=256,
        originals=(Original("KupynOrest/DeblurGAN", "00f6ab1", "BSD"),),
        published={"optimizer": "Adam(2e-4, 0.5, 0.999)", "l1_weight": 100},
        parity="forward passes to 2e-5, the conditional critic, losses, gradients and weights of two steps in float64: "
               "tests/golden/pix2pix_unet.npz",
    ),
)
