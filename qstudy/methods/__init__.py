"""fp32 network in, quantized network out; and the fp32 forms that it is timed against.

fusion folds batch normalization, dynamic and static quantize after training (pt2e by
the route that replaces them), fp32 gives the unquantized forms to beat. integer runs a
quantized network in this study's own arithmetic; engines and conformance hold that
arithmetic against other people's. bnfold trains a convolution together with the batch
normalization that is folded into it; torch_qat is PyTorch's own training with
quantization. legacy is the only door to torch.ao.quantization, which PyTorch is
removing.
"""
