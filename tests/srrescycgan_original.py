"""One training step of SRResCycGAN written plainly in the original's order of work, with Keras' own parts.

Nothing is shared: both tapes run their own forward passes, and every network has its own gradient. What the library
computes in one pass is compared with it on the same machine, where both see the same rounding.
"""

import keras
import tensorflow as tf


def bce(y_true, y_pred):  # made anew each time: a loss object keeps the precision of its making
    return keras.losses.BinaryCrossentropy(from_logits=True)(y_true, y_pred)


def mae(y_true, y_pred):
    return keras.losses.MeanAbsoluteError()(y_true, y_pred)


def total_variation(real, fake):
    (real_dy, real_dx), (fake_dy, fake_dx) = tf.image.image_gradients(real), tf.image.image_gradients(fake)
    return tf.reduce_mean(tf.abs(real_dx - fake_dx)) + tf.reduce_mean(tf.abs(real_dy - fake_dy))


def critic_loss(real, fake):
    return 0.5 * (bce(tf.ones_like(real), real) + bce(tf.zeros_like(fake), fake))


def perceptual(features, real, fake):
    prepare = keras.applications.vgg19.preprocess_input
    return keras.losses.MeanSquaredError()(features(prepare(real)), features(prepare(fake)))


def train_step(networks, optimizers, features, small, large, lambda_cyc=10.0, lambda_content=5.0):
    """The seven losses in the order of the golden cases; networks and optimizers as G_HR, G_LR, D_HR, D_LR."""
    g_hr, g_lr, d_hr, d_lr = networks
    with tf.GradientTape(persistent=True) as d_tape:
        fake_hr, fake_lr = g_hr(small, training=True), g_lr(large, training=True)
        d_hr_loss = critic_loss(d_hr(large, training=True), d_hr(fake_hr, training=True))
        d_lr_loss = critic_loss(d_lr(small, training=True), d_lr(fake_lr, training=True))
    with tf.GradientTape(persistent=True) as g_tape:
        fake_hr, fake_lr = g_hr(small, training=True), g_lr(large, training=True)
        cycle_hr, cycle_lr = g_hr(fake_lr, training=True), g_lr(fake_hr, training=True)
        scores = d_hr(fake_hr, training=True), d_lr(fake_lr, training=True)
        adversarial = sum(bce(tf.ones_like(score), score) for score in scores)
        terms = [perceptual(features, large, fake_hr), adversarial, total_variation(large, fake_hr), mae(large, fake_hr),
                 mae(small, cycle_lr) + mae(large, cycle_hr)]
        total = terms[0] + terms[1] + terms[2] + lambda_content * terms[3] + lambda_cyc * terms[4]
    order = ((d_tape, d_hr_loss, 2), (d_tape, d_lr_loss, 3), (g_tape, total, 0), (g_tape, total, 1))
    gradients = [(i, tape.gradient(loss, networks[i].trainable_variables)) for tape, loss, i in order]
    for i, gradient in gradients:
        optimizers[i].apply(gradient, networks[i].trainable_variables)
    return tf.stack([d_hr_loss + d_lr_loss, total, *terms])
