"""One file or folder for each question: `python -m experiments.NAME` measures, writes data to results/ and draws it.

"The lectures" are five on deep learning for computer vision: the multilayer perceptron; the perceptron, XOR, Jacobians
and tensors; back-propagation and automatic differentiation; from convolution to transformers; autoencoders.
"""
