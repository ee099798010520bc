"""fp32 network in, quantized network out; and the fp32 forms that it is timed against.

fusion folds batch normalization, dynamic and static quantize after training (pt2e by
the route that replaces them). simulate puts the fake-quantizers of fakequant into a
network, with bnfold's forms of batch normalization, so that qat can train it on what it
will compute; convert makes an engine's int8 network of it, and agreement compares the
two; torch_qat is PyTorch's own training with quantization. learned has quantizers whose
step is trained, lsq trains them, packed puts such a network in bytes. fp32 gives the
unquantized forms to beat. integer runs a quantized network in this study's own
arithmetic; engines and conformance hold that arithmetic against other people's. graphs
reads what any of these networks computes, and on what types. legacy is the only door to
torch.ao.quantization, which PyTorch is removing.
"""
