"""The models that reconstruct undersampled MRI."""

from __future__ import annotations

from typing import Any

from .record import Original, Record


def zero_filled(images: Any) -> Any:
    """The do-nothing baseline: the zero-filled image is the reconstruction. Any shape, any scale."""
    return images


def unet_gan(
    image_shape: tuple = (None, None, 1),
    width: int = 64,
    bilinear: bool = True,
    revision: str = "2019",
    loss: str = "bce",
    optimizer: str = "adam",
    learning_rate: Any = 2e-4,
    reconstruction_weight: float = 0.0,
    reconstruction_loss: str = "l1",
    jit_compile: Any = "auto",
) -> Any:
    """`training.UNetGAN` with its networks, compiled."""
    from .. import models, training

    trainer = training.UNetGAN(
        models.unet_gan.generator_model(tuple(image_shape), bilinear=bilinear, width=width, revision=revision),
        models.unet_gan.discriminator_model(tuple(image_shape)),
        loss=loss,
        reconstruction_weight=reconstruction_weight,
        reconstruction_loss=reconstruction_loss,
    )
    trainer.compile(optimizer, learning_rate=learning_rate, jit_compile=jit_compile)
    return trainer


def deblurgan_mri(
    image_shape: tuple = (256, 256, 3),
    ngf: int = 64,
    ndf: int = 64,
    n_blocks: int = 9,
    dropout: float = 0.5,
    content: str = "perceptual",
    vgg: str = "vgg16",
    vgg_weights: Any = "imagenet",
    learning_rate: Any = 1e-4,
    jit_compile: Any = "auto",
    **options: Any,
) -> Any:
    """`training.DeblurGAN` with its networks, compiled; `options` are its other arguments.

    The generator takes any size; the critic that of `image_shape`.
    """
    from .. import losses, models, training

    networks = models.deblurgan_mri
    perceptual = losses.PerceptualLoss(vgg, "block3_conv3", weights=vgg_weights) if content == "perceptual" else content
    trainer = training.DeblurGAN(
        networks.generator_model((None, None, image_shape[-1]), ngf, n_blocks, dropout),
        networks.discriminator_model(tuple(image_shape), ndf),
        content=perceptual,
        **options,
    )
    trainer.compile(learning_rate=learning_rate, jit_compile=jit_compile)
    return trainer


_UNET = {"loss": "bce", "optimizer": "adam", "learning_rate": 2e-4, "reconstruction_weight": 100.0}
_DEBLUR = {"content": "perceptual", "content_weight": 100.0, "learning_rate": 1e-4}

RECORDS = (
    Record("zero_filled", "masked", "The baseline that does nothing: inverse FFT of the measured samples.",
           fixed=lambda: zero_filled, system="the baseline of every table", licence=""),
    Record(
        "deblurgan_mri",
        "masked",
        "DeblurGAN: ResNet under a VGG16 perceptual loss and a sigmoid critic (seed 000).",
        deblurgan_mri,
        system="DeblurGAN for undersampled MRI (seed 000)",
        builder="models.deblurgan_mri.generator_model",
        training_class="training.DeblurGAN",
        takes=("training.DeblurGAN",),
        presets={
            "recommended": _DEBLUR,
            "l1": {**_DEBLUR, "content": "l1"},
            "small": {**_DEBLUR, "content": "l1", "ngf": 16, "ndf": 16, "n_blocks": 3, "dropout": 0.0, "critic_updates": 1,
                      "learning_rate": 1e-3},
            "original": {**_DEBLUR, "swapped": True, "symmetric": False},
        },
        value_range="[-1, 1] in and out: half of the input and of a tanh",
        sizes="any multiple of 4 from 16 (reconstruct pads); the critic that of image_shape",
        scaling="symmetric",
        channels=3,
        multiple=4,
        smallest=16,
        batch_size=5,
        patch=256,
        originals=(Original("RaphaelMeudec/deblur-gan", "8b4b15d", "MIT"),),
        published={"batch_size": 5, "epochs": 5, "optimizer": "Adam(1e-4, 0.9, 0.999, 1e-8) for both networks",
                   "critic_updates": 5, "content": "VGG16 block3_conv3, weight 100; L1 at 8x", "image_size": 256,
                   "acceleration": "4x with 0.08 of the lines in the centre, 8x with 0.04", "volumes": "100, 70 % to train"},
        parity="forward passes, statistics, losses, first gradients and every variable over two batches of training, in float64 "
               "to 1e-7: tests/golden/keras_*.npz, deblurgan_train_*.npz",
    ),
    Record(
        "unet_gan",
        "masked",
        "U-Net judged by a small discriminator (seed 001).",
        unet_gan,
        system="U-Net GAN for undersampled MRI (seed 001)",
        builder="models.unet_gan.generator_model",
        training_class="training.UNetGAN",
        presets={
            "recommended": _UNET,
            "small": {**_UNET, "width": 16, "learning_rate": 1e-3},
            "original": {"loss": "kldiv", "optimizer": "adamw", "learning_rate": 2e-4, "reconstruction_weight": 0.0},
        },
        value_range="[0, 1] in, the slice divided by its zero-filled maximum; out a real and an imaginary part, whose "
                    "magnitude is the image on the same scale",
        sizes="any from 16, from 32 in training",
        smallest=32,
        originals=(Original("milesial/Pytorch-UNet", "9fd386f", "GPL-3.0; re-implemented from its description"),),
        published={"batch_size": 1, "epochs": "5 in the code, 10 in the experiments", "folds": 3, "learning_rate": 2e-4,
                   "optimizer": "Adam, AdamW or Adagrad with PyTorch's defaults",
                   "loss": "kldiv, bce, bce_logits, l1, mse or ssim",
                   "image_size": 320, "acceleration": "8x with 0.04 of the lines in the centre"},
        parity="forward passes to 5.5e-6, running statistics, losses, gradients and weights of one step for three losses and "
               "optimisers, in float64 to 1e-5: tests/golden/ganno_*.npz",
    ),
)
