"""What to cite: the articles behind each model, and those behind the metrics and masks that all of them share."""

from __future__ import annotations

_FASTMRI = ("Zbontar et al., fastMRI: An Open Dataset and Benchmarks for Accelerated MRI, 2018, arXiv:1811.08839 (masks and "
            "definitions of NMSE, PSNR and SSIM)")
_UNET = "Ronneberger, Fischer, Brox, U-Net: Convolutional Networks for Biomedical Image Segmentation, 2015, arXiv:1505.04597"
_DEBLURGAN = ("Kupyn, Budzan, Mykhailych, Mishkin, Matas, DeblurGAN: Blind Motion Deblurring Using Conditional Adversarial "
              "Networks, 2018, arXiv:1711.07064")
_PIX2PIX = "Isola, Zhu, Zhou, Efros, Image-to-Image Translation with Conditional Adversarial Networks, 2017, arXiv:1611.07004"
_SRRESCGAN = ("Umer, Foresti, Micheloni, Deep Generative Adversarial Residual Convolutional Networks for Real-World "
              "Super-Resolution, 2020, arXiv:2005.00953")
_SRRESCYCGAN = ("Umer, Micheloni, Deep Cyclic Generative Adversarial Residual Convolutional Networks for Real Image "
                "Super-Resolution, 2020, arXiv:2009.03693")
_SENSE = ("Pruessmann, Weiger, Boernert, Boesiger, Advances in Sensitivity Encoding with Arbitrary k-Space Trajectories, "
          "Magnetic Resonance in Medicine 46, 2001")
_MODL = ("Aggarwal, Mani, Jacob, MoDL: Model-Based Deep Learning Architecture for Inverse Problems, 2019, "
         "arXiv:1712.02862")
_DBP = ("Tamir, Yu, Lustig, Unsupervised Deep Basis Pursuit: Learning Inverse Problems without Ground-Truth Data, 2019, "
        "arXiv:1910.13110")
_NSF = "Durkan, Bekasov, Murray, Papamakarios, Neural Spline Flows, 2019, arXiv:1906.04032"

SHARED = (_FASTMRI,)
BY_MODEL = {
    "zero_filled": (),
    "deblurgan_mri": (_DEBLURGAN,),
    "unet_gan": (_UNET, _PIX2PIX),
    "ct_deblur": (_DEBLURGAN,),
    "pix2pix": (_PIX2PIX,),
    "srrescycgan": (_SRRESCYCGAN,),
    "srresdnet": (_SRRESCGAN, _SRRESCYCGAN),
    "cg_sense": (_SENSE,),
    "modl": (_MODL,),
    "deep_basis_pursuit": (_DBP,),
    "spline_flow": (_NSF,),
}
