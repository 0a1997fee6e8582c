"""The outputs of TensorFlow's operators: their names and data types.

From the operator registry of TensorFlow 2.21 (tensorflow/core/ops/*.cc), without what graphs for inference cannot
hold. One operator a line, or several with the rest indented; an output is ``name=type``, or ``name:attribute`` where
an attribute names the type, with ``|type`` for its default, ``*attribute`` for as many outputs as an attribute
counts, and ``[]`` for a list of types. What does not belong here: shapes, which the rules tell.
"""

from functools import lru_cache
from typing import Final, NamedTuple

from klever.steps.formats.graphdef.call import MAX_OUTPUTS
from klever.steps.frameworks.tensorflow import DTYPES, Node


class Output(NamedTuple):
    """An output argument of an operator; its type is a name, an attribute's, or a list in an attribute."""

    name: str
    dtype: int
    attribute: str
    counter: str
    listed: bool


def outputs_of(node: Node) -> list[tuple[str, int]] | None:
    """Return name and DataType (0: unknown) of each output of a node; None for an operator not in the table."""
    arguments = _arguments(node.op)
    if arguments is None:
        return None
    outputs: list[tuple[str, int]] = []
    for argument in arguments:
        if argument.listed:
            outputs += [(argument.name, dtype) for dtype in node.dtypes(argument.attribute)[:MAX_OUTPUTS]]
            continue
        dtype = (node.dtype(argument.attribute) if argument.attribute else None) or argument.dtype
        repeat = min(max(node.integer(argument.counter) or 0, 0), MAX_OUTPUTS) if argument.counter else 1
        outputs += [(argument.name, dtype)] * repeat
    return outputs


def is_known(op: str) -> bool:
    """Tell whether an operator is in the table."""
    return _arguments(op) is not None


@lru_cache(maxsize=512)
def _arguments(op: str) -> tuple[Output, ...] | None:
    found = _TABLE.find(f"\n{op} ")
    if found < 0:
        return () if op in WITHOUT_OUTPUTS else None
    end = _TABLE.index("\n", found + 1)
    while _TABLE.startswith("\n  ", end):
        end = _TABLE.index("\n", end + 1)
    return tuple(_parse(item) for item in _TABLE[found:end].split()[1:])


def _parse(item: str) -> Output:
    item, _, count = item.partition("*")
    item, _, default = item.partition("|")
    name, separator, attribute = item.partition(":")
    if not separator:
        name, _, default = item.partition("=")
    listed = attribute.endswith("[]")
    return Output(name, _NUMBERS.get(default, 0), attribute.removesuffix("[]"), count, listed)


#: The registry spells types as TensorFlow does.
_NUMBERS: Final = {name: number for number, name in reversed(DTYPES.items())} | {
    "string": 7,
    "qint8": 11,
    "quint8": 12,
    "qint32": 13,
    "qint16": 15,
    "quint16": 16,
    "half": 19,
    "resource": 20,
    "variant": 21,
}

_SILENT: Final = """
Abort Assert AssignAddVariableOp AssignSubVariableOp AssignVariableOp CloseSummaryWriter ControlTrigger
DestroyResourceOp DisableCopyOnRead FlushSummaryWriter InitializeTable InitializeTableFromTextFile
InitializeTableFromTextFileV2 InitializeTableV2 LookupTableImport LookupTableImportV2 LookupTableInsert
LookupTableInsertV2 LookupTableRemoveV2 MakeIterator MergeV2Checkpoints NoOp PrintV2 QueueCloseV2
QueueEnqueueManyV2 QueueEnqueueV2 Save SaveSlices SaveV2 TensorArrayClose TensorArrayCloseV2 TensorArrayCloseV3
WriteFile
"""

#: Operators that are run for what they do.
WITHOUT_OUTPUTS: Final = frozenset(_SILENT.split())

_TABLE: Final = """
Abs y:T
AccumulateNV2 sum:T
Acos y:T
Acosh y:T
Add z:T
AddManySparseToTensorsMap sparse_handles=int64
AddN sum:T
AddSparseToTensorsMap sparse_handle=int64
AddV2 z:T
AdjustContrast output=float32
AdjustContrastv2 output:T|float32
AdjustHue output:T|float32
AdjustSaturation output:T|float32
All output=bool
AllCandidateSampler sampled_candidates=int64 true_expected_count=float32 sampled_expected_count=float32
Angle output:Tout|float32
AnonymousHashTable table_handle=resource
Any output=bool
ApproxTopK values:T indices=int32
ApproximateEqual z=bool
ArgMax output:output_type|int64
ArgMin output:output_type|int64
AsString output=string
Asin y:T
Asinh y:T
Assign output_ref:T
AssignAdd output_ref:T
AssignSub output_ref:T
Atan y:T
Atan2 z:T
Atanh y:T
AudioSpectrogram spectrogram=float32
AudioSummary summary=string
AudioSummaryV2 summary=string
AvgPool output:T
AvgPool3D output:T
AvgPoolGrad output:T
BandedTriangularSolve output:T
Batch batched_tensors:T[] batch_index=int64 id=int64
BatchFFT output=complex64
BatchFFT2D output=complex64
BatchFFT3D output=complex64
BatchFunction out_tensors:Tout[]
BatchIFFT output=complex64
BatchIFFT2D output=complex64
BatchIFFT3D output=complex64
BatchMatMul output:T
BatchMatMulV2 output:T
BatchMatMulV3 output:Tout
BatchMatrixBandPart band:T
BatchMatrixDeterminant output:T
BatchMatrixDiag output:T
BatchMatrixDiagPart diagonal:T
BatchMatrixInverse output:T
BatchMatrixSetDiag output:T
BatchMatrixTriangularSolve output:T
BatchNormWithGlobalNormalization result:T
BatchToSpace output:T
BatchToSpaceND output:T
BesselI0 y:T
BesselI0e y:T
BesselI1 y:T
BesselI1e y:T
BesselJ0 y:T
BesselJ1 y:T
BesselK0 y:T
BesselK0e y:T
BesselK1 y:T
BesselK1e y:T
BesselY0 y:T
BesselY1 y:T
Betainc z:T
BiasAdd output:T
BiasAddGrad output:T
BiasAddV1 output:T
Bincount bins:T
Bitcast output:type
BitwiseAnd z:T
BitwiseOr z:T
BitwiseXor z:T
BlockLSTM i:T cs:T f:T o:T ci:T co:T h:T
BlockLSTMV2 i:T cs:T f:T o:T ci:T co:T h:T
BroadcastArgs r0:T|int32
BroadcastGradientArgs r0:T|int32 r1:T|int32
BroadcastTo output:T
Bucketize output=int32
CTCBeamSearchDecoder decoded_indices=int64*top_paths decoded_values=int64*top_paths
  decoded_shape=int64*top_paths log_probability:T|float32
CTCGreedyDecoder decoded_indices=int64 decoded_values=int64 decoded_shape=int64 log_probability:T|float32
CTCLoss loss:T|float32 gradient:T|float32
CTCLossV2 loss=float32 gradient=float32
Case output:Tout[]
Cast y:DstT
Ceil y:T
CheckNumerics output:T
CheckNumericsV2 output:T
Cholesky output:T
ClipByValue output:T
CombinedNonMaxSuppression nmsed_boxes=float32 nmsed_scores=float32 nmsed_classes=float32 valid_detections=int32
Complex out:Tout|complex64
ComplexAbs y:Tout|float32
CompositeTensorVariantFromComponents encoded=variant
CompositeTensorVariantToComponents components:Tcomponents[]
CompressElement compressed=variant
ComputeAccidentalHits indices=int32 ids=int64 weights=float32
Concat output:T
ConcatOffset offset:shape_type|int32*N
ConcatV2 output:T
Conj output:T|complex64
ConjugateTranspose y:T
Const output:dtype
Conv output:T
Conv2D output:T
Conv2DBackpropFilter output:T
Conv2DBackpropFilterV2 output:T
Conv2DBackpropInput output:T
Conv2DBackpropInputV2 output:T
Conv3D output:T
Conv3DBackpropFilter output:T
Conv3DBackpropFilterV2 output:T
Conv3DBackpropInput output:T
Conv3DBackpropInputV2 output:T
Copy output:T
CopyHost output:T
Cos y:T
Cosh y:T
CountUpTo output:T
CropAndResize crops=float32
CropAndResizeGradBoxes output=float32
CropAndResizeGradImage output:T
Cross product:T
CudnnRNN output:T output_h:T output_c:T reserve_space:T
CudnnRNNV2 output:T output_h:T output_c:T reserve_space:T host_reserved=int8
CudnnRNNV3 output:T output_h:T output_c:T reserve_space:T host_reserved=int8
Cumprod out:T
Cumsum out:T
CumulativeLogsumexp out:T
DataFormatDimMap y:T|int32
DataFormatVecPermute y:T|int32
Dawsn y:T
DebugIdentity output:T
DebugIdentityV2 output:T
DebugIdentityV3 output:T
DecodeAndCropJpeg image=uint8
DecodeBase64 output=string
DecodeBmp image=uint8
DecodeCSV output:OUT_TYPE[]
DecodeCompressed output=string
DecodeGif image=uint8
DecodeImage image:dtype|uint8
DecodeJSONExample binary_examples=string
DecodeJpeg image=uint8
DecodeJxl image:dtype|uint8
DecodePaddedRaw output:out_type
DecodePng image:dtype|uint8
DecodeRaw output:out_type
DecodeWav audio=float32 sample_rate=int32
DecodeWebP image:dtype|uint8
DeepCopy y:T
DenseBincount output:T
DenseCountSparseOutput output_indices=int64 output_values:output_type output_dense_shape=int64
DenseToDenseSetOperation result_indices=int64 result_values:T result_shape=int64
DenseToSparseSetOperation result_indices=int64 result_values:T result_shape=int64
DepthToSpace output:T
DepthwiseConv2dNative output:T
DepthwiseConv2dNativeBackpropFilter output:T
DepthwiseConv2dNativeBackpropInput output:T
Dequantize output:dtype|float32
DeserializeManySparse sparse_indices=int64 sparse_values:dtype sparse_shape=int64
DeserializeSparse sparse_indices=int64 sparse_values:dtype sparse_shape=int64
DeviceIndex index=int32
Diag output:T
DiagPart diagonal:T
Digamma y:T
Dilation2D output:T
Dilation2DBackpropFilter filter_backprop:T
Dilation2DBackpropInput in_backprop:T
Div z:T
DivNoNan z:T
DrawBoundingBoxes output:T|float32
DrawBoundingBoxesV2 output:T|float32
DynamicPartition outputs:T*num_partitions
DynamicStitch merged:T
EagerPyFunc output:Tout[]
Eig e:Tout v:Tout
Einsum output:T
Elu activations:T
Empty output:dtype
EmptyTensorList handle=variant
EmptyTensorMap handle=variant
EncodeBase64 output=string
EncodeJpeg contents=string
EncodeJpegVariableQuality contents=string
EncodePng contents=string
EncodeWav contents=string
EnsureShape output:T
Enter output:T
Equal z=bool
Erf y:T
Erfc y:T
Erfinv y:T
EuclideanNorm output:T
Exit output:T
Exp y:T
ExpandDims output:T
Expint y:T
Expm1 y:T
ExtractGlimpse glimpse=float32
ExtractGlimpseV2 glimpse=float32
ExtractImagePatches patches:T
ExtractJpegShape image_shape:output_type|int32
ExtractVolumePatches patches:T
FFT output:Tcomplex|complex64
FFT2D output:Tcomplex|complex64
FFT3D output:Tcomplex|complex64
FFTND output:Tcomplex|complex64
FIFOQueue handle=string
FIFOQueueV2 handle=resource
FakeParam output:dtype
FakeQuantWithMinMaxArgs outputs=float32
FakeQuantWithMinMaxArgsGradient backprops=float32
FakeQuantWithMinMaxVars outputs=float32
FakeQuantWithMinMaxVarsGradient backprops_wrt_input=float32 backprop_wrt_min=float32 backprop_wrt_max=float32
FakeQuantWithMinMaxVarsPerChannel outputs=float32
Fill output:T
Fingerprint fingerprint=uint8
FixedLengthRecordReaderV2 reader_handle=resource
FixedUnigramCandidateSampler sampled_candidates=int64 true_expected_count=float32 sampled_expected_count=float32
Floor y:T
FloorDiv z:T
FloorMod z:T
For output:T[]
FractionalAvgPool output:T row_pooling_sequence=int64 col_pooling_sequence=int64
FractionalMaxPool output:T row_pooling_sequence=int64 col_pooling_sequence=int64
FresnelCos y:T
FresnelSin y:T
FusedBatchNorm y:T batch_mean:T batch_variance:T reserve_space_1:T reserve_space_2:T
FusedBatchNormGrad x_backprop:T scale_backprop:T offset_backprop:T reserve_space_3:T reserve_space_4:T
FusedBatchNormGradV3 x_backprop:T scale_backprop:U offset_backprop:U reserve_space_4:U reserve_space_5:U
FusedBatchNormV2 y:T batch_mean:U batch_variance:U reserve_space_1:U reserve_space_2:U
FusedBatchNormV3 y:T batch_mean:U batch_variance:U reserve_space_1:U reserve_space_2:U reserve_space_3:U
FusedPadConv2D output:T
FusedResizeAndPadConv2D output:T
GRUBlockCell r:T u:T c:T h:T
Gather output:Tparams
GatherNd output:Tparams
GatherV2 output:Tparams
GenerateBoundingBoxProposals rois=float32 roi_probabilities=float32
GetDeadline deadline_from_epoch_micros=int64
Greater z=bool
GreaterEqual z=bool
GuaranteeConst output:T
HSVToRGB output:T|float32
HashTable table_handle=string
HashTableV2 table_handle=resource
HistogramFixedWidth out:dtype|int32
HistogramSummary summary=string
IFFT output:Tcomplex|complex64
IFFT2D output:Tcomplex|complex64
IFFT3D output:Tcomplex|complex64
IFFTND output:Tcomplex|complex64
IRFFT output:Treal|float32
IRFFT2D output:Treal|float32
IRFFT3D output:Treal|float32
IRFFTND output:Treal|float32
Identity output:T
IdentityN output:T[]
IdentityReader reader_handle=string
IdentityReaderV2 reader_handle=resource
If output:Tout[]
Igamma z:T
IgammaGradA z:T
Igammac z:T
Imag output:Tout|float32
ImageProjectiveTransformV2 transformed_images:dtype
ImageProjectiveTransformV3 transformed_images:dtype
ImageSummary summary=string
ImmutableConst tensor:dtype
InTopK precision=bool
InTopKV2 precision=bool
InplaceAdd y:T
InplaceSub y:T
InplaceUpdate y:T
Inv y:T
Invert y:T
InvertPermutation y:T|int32
IsFinite y=bool
IsInf y=bool
IsNan y=bool
IsResourceHandleRefCounting result=bool
IsTensorFloat32Enabled enabled=bool
IsVariableInitialized is_initialized=bool
IsotonicRegression output:output_dtype|float32 segments=int32
Iterator handle=resource
IteratorGetNext components:output_types[]
IteratorV2 handle=resource
KthOrderStatistic output=float32
L2Loss output:T
LMDBReader reader_handle=string
LRN output:T|float32
LSTMBlockCell i:T cs:T f:T o:T ci:T co:T h:T
LeakyRelu activations:T|float32
LearnedUnigramCandidateSampler sampled_candidates=int64 true_expected_count=float32
  sampled_expected_count=float32
LeftShift z:T
Less z=bool
LessEqual z=bool
Lgamma y:T
LinSpace output:T
ListDiff out:T idx:out_idx|int32
Log y:T
Log1p y:T
LogMatrixDeterminant sign:T log_abs_determinant:T
LogSoftmax logsoftmax:T
LogUniformCandidateSampler sampled_candidates=int64 true_expected_count=float32 sampled_expected_count=float32
LogicalAnd z=bool
LogicalNot y=bool
LogicalOr z=bool
LookupTableExport keys:Tkeys values:Tvalues
LookupTableExportV2 keys:Tkeys values:Tvalues
LookupTableFind values:Tout
LookupTableFindV2 values:Tout
LookupTableSize size=int64
LookupTableSizeV2 size=int64
LoopCond output=bool
LowerBound output:out_type|int32
Lu lu:T p:output_idx_type|int32
MapDefun output:output_types[]
MatMul product:T
MatchingFiles filenames=string
MatrixBandPart band:T
MatrixDeterminant output:T
MatrixDiag output:T
MatrixDiagPart diagonal:T
MatrixDiagPartV2 diagonal:T
MatrixDiagPartV3 diagonal:T
MatrixDiagV2 output:T
MatrixDiagV3 output:T
MatrixExponential output:T
MatrixInverse output:T
MatrixLogarithm output:T
MatrixSetDiag output:T
MatrixSetDiagV2 output:T
MatrixSetDiagV3 output:T
MatrixSolve output:T
MatrixSquareRoot output:T
MatrixTriangularSolve output:T
Max output:T
MaxPool output:T|float32
MaxPool3D output:T
MaxPoolGrad output:T|float32
MaxPoolGradGradWithArgmax output:T
MaxPoolGradWithArgmax output:T
MaxPoolV2 output:T|float32
MaxPoolWithArgmax output:T argmax:Targmax|int64
Maximum z:T
Mean output:T
Merge output:T value_index=int32
MergeSummary summary=string
Mfcc output=float32
Min output:T
Minimum z:T
MirrorPad output:T
Mod z:T
Mul z:T
MulNoNan z:T
Multinomial output:output_dtype|int64
MutableDenseHashTable table_handle=string
MutableDenseHashTableV2 table_handle=resource
MutableHashTable table_handle=string
MutableHashTableOfTensors table_handle=string
MutableHashTableOfTensorsV2 table_handle=resource
MutableHashTableV2 table_handle=resource
Ndtri y:T
NearestNeighbors nearest_center_indices=int64 nearest_center_distances=float32
Neg y:T
NextAfter output:T|float32
NextIteration output:T
NonMaxSuppression selected_indices=int32
NonMaxSuppressionV2 selected_indices=int32
NonMaxSuppressionV3 selected_indices=int32
NonMaxSuppressionV4 selected_indices=int32 valid_outputs=int32
NonMaxSuppressionV5 selected_indices=int32 selected_scores:T|float32 valid_outputs=int32
NonMaxSuppressionWithOverlaps selected_indices=int32
NotEqual z=bool
NthElement values:T
OneHot output:T
OneShotIterator handle=resource
OnesLike y:T
OptionalFromValue optional=variant
OptionalGetValue components:output_types[]
OptionalHasValue has_value=bool
OptionalNone optional=variant
Pack output:T
Pad output:T
PadV2 output:T
PaddingFIFOQueue handle=string
PaddingFIFOQueueV2 handle=resource
ParallelConcat output:T
ParallelDynamicStitch merged:T
ParameterizedTruncatedNormal output:dtype
ParseExample sparse_indices=int64*Nsparse sparse_values:sparse_types[] sparse_shapes=int64*Nsparse
  dense_values:Tdense[]
ParseExampleV2 sparse_indices=int64*num_sparse sparse_values:sparse_types[] sparse_shapes=int64*num_sparse
  dense_values:Tdense[] ragged_values:ragged_value_types[] ragged_row_splits:ragged_split_types[]
ParseSequenceExample context_sparse_indices=int64*Ncontext_sparse context_sparse_values:context_sparse_types[]
  context_sparse_shapes=int64*Ncontext_sparse context_dense_values:Tcontext_dense[]
  feature_list_sparse_indices=int64*Nfeature_list_sparse feature_list_sparse_values:feature_list_sparse_types[]
  feature_list_sparse_shapes=int64*Nfeature_list_sparse feature_list_dense_values:feature_list_dense_types[]
  feature_list_dense_lengths=int64*Nfeature_list_dense
ParseSequenceExampleV2 context_sparse_indices=int64*Ncontext_sparse context_sparse_values:context_sparse_types[]
  context_sparse_shapes=int64*Ncontext_sparse context_dense_values:Tcontext_dense[]
  context_ragged_values:context_ragged_value_types[] context_ragged_row_splits:context_ragged_split_types[]
  feature_list_sparse_indices=int64*Nfeature_list_sparse feature_list_sparse_values:feature_list_sparse_types[]
  feature_list_sparse_shapes=int64*Nfeature_list_sparse feature_list_dense_values:feature_list_dense_types[]
  feature_list_dense_lengths=int64*Nfeature_list_dense
  feature_list_ragged_values:feature_list_ragged_value_types[]
  feature_list_ragged_outer_splits:feature_list_ragged_split_types[]
  feature_list_ragged_inner_splits:feature_list_ragged_split_types[]
ParseSingleExample sparse_indices=int64*num_sparse sparse_values:sparse_types[] sparse_shapes=int64*num_sparse
  dense_values:Tdense[]
ParseSingleSequenceExample context_sparse_indices=int64*Ncontext_sparse
  context_sparse_values:context_sparse_types[] context_sparse_shapes=int64*Ncontext_sparse
  context_dense_values:Tcontext_dense[] feature_list_sparse_indices=int64*Nfeature_list_sparse
  feature_list_sparse_values:feature_list_sparse_types[] feature_list_sparse_shapes=int64*Nfeature_list_sparse
  feature_list_dense_values:feature_list_dense_types[]
ParseTensor output:out_type
PartitionedCall output:Tout[]
Placeholder output:dtype
PlaceholderV2 output:dtype
PlaceholderWithDefault output:dtype
Polygamma z:T
PopulationCount y=uint8
Pow z:T
PreventGradient output:T
Print output:T
PriorityQueue handle=string
PriorityQueueV2 handle=resource
Prod output:T
PyFunc output:Tout[]
PyFuncStateless output:Tout[]
Qr q:T r:T
QuantizeAndDequantize output:T
QuantizeAndDequantizeV2 output:T
QuantizeAndDequantizeV3 output:T
QuantizeAndDequantizeV4 output:T
QuantizeDownAndShrinkRange output:out_type output_min=float32 output_max=float32
QuantizeV2 output:T output_min=float32 output_max=float32
QuantizedAdd z:Toutput|qint32 min_z=float32 max_z=float32
QuantizedAvgPool output:T min_output=float32 max_output=float32
QuantizedBatchNormWithGlobalNormalization result:out_type result_min=float32 result_max=float32
QuantizedBiasAdd output:out_type min_out=float32 max_out=float32
QuantizedConcat output:T output_min=float32 output_max=float32
QuantizedConcatV2 output:T output_min=float32 output_max=float32
QuantizedConv2D output:out_type|qint32 min_output=float32 max_output=float32
QuantizedConv2DAndRequantize output:out_type|qint8 min_output=float32 max_output=float32
QuantizedConv2DWithBias output:out_type|qint32 min_output=float32 max_output=float32
QuantizedConv2DWithBiasAndReluAndRequantize output:out_type|quint8 min_output=float32 max_output=float32
QuantizedDepthwiseConv2D output:out_type|qint32 min_output=float32 max_output=float32
QuantizedInstanceNorm y:T y_min=float32 y_max=float32
QuantizedMatMul out:Toutput|qint32 min_out=float32 max_out=float32
QuantizedMatMulWithBiasAndRequantize out:Toutput|quint8 min_out=float32 max_out=float32
QuantizedMaxPool output:T min_output=float32 max_output=float32
QuantizedMul z:Toutput|qint32 min_z=float32 max_z=float32
QuantizedRelu activations:out_type|quint8 min_activations=float32 max_activations=float32
QuantizedRelu6 activations:out_type|quint8 min_activations=float32 max_activations=float32
QuantizedReluX activations:out_type|quint8 min_activations=float32 max_activations=float32
QuantizedReshape output:T output_min=float32 output_max=float32
QuantizedResizeBilinear resized_images:T out_min=float32 out_max=float32
QueueDequeueManyV2 components:component_types[]
QueueDequeueUpToV2 components:component_types[]
QueueDequeueV2 components:component_types[]
QueueSizeV2 size=int32
RFFT output:Tcomplex|complex64
RFFT2D output:Tcomplex|complex64
RFFT3D output:Tcomplex|complex64
RFFTND output:Tcomplex|complex64
RGBToHSV output:T|float32
RaggedBincount output:T
RaggedCountSparseOutput output_indices=int64 output_values:output_type output_dense_shape=int64
RaggedCross output_values:out_values_type output_row_splits:out_row_splits_type
RaggedFillEmptyRows output_value_rowids=int64 output_values:T empty_row_indicator=bool reverse_index_map=int64
RaggedGather output_nested_splits:Tsplits|int64*OUTPUT_RAGGED_RANK output_dense_values:Tvalues
RaggedRange rt_nested_splits:Tsplits|int64 rt_dense_values:T|int32
RaggedTensorFromVariant output_nested_splits:Tsplits|int64*output_ragged_rank output_dense_values:Tvalues
RaggedTensorToSparse sparse_indices=int64 sparse_values:T sparse_dense_shape=int64
RaggedTensorToTensor result:T
RaggedTensorToVariant encoded_ragged=variant
RaggedTensorToVariantGradient dense_values_grad:Tvalues
RandomCrop output:T
RandomGamma output:T
RandomIndexShuffle output:dtype
RandomPoisson output:dtype
RandomPoissonV2 output:dtype|int64
RandomShuffle output:T
RandomShuffleQueue handle=string
RandomShuffleQueueV2 handle=resource
RandomStandardNormal output:dtype
RandomUniform output:dtype
RandomUniformInt output:Tout
Range output:Tidx|int32
Rank output=int32
ReadFile contents=string
ReadVariableOp value:dtype
ReaderRead key=string value=string
ReaderReadV2 key=string value=string
Real output:Tout|float32
RealDiv z:T
Reciprocal y:T
ReduceJoin output=string
RefEnter output:T
RefExit output:T
RefIdentity output:T
RefMerge output:T value_index=int32
RefNextIteration output:T
RefSelect output:T
RefSwitch output_false:T output_true:T
RegexFullMatch output=bool
RegexReplace output=string
Relu activations:T
Relu6 activations:T
ReluGrad backprops:T
RemoteCall output:Tout[]
RequantizationRange output_min=float32 output_max=float32
RequantizationRangePerChannel output_min=float32 output_max=float32
Requantize output:out_type output_min=float32 output_max=float32
RequantizePerChannel output:out_type|quint8 output_min=float32 output_max=float32
Reshape output:T
ResizeArea resized_images=float32
ResizeBicubic resized_images=float32
ResizeBilinear resized_images=float32
ResizeBilinearGrad output:T
ResizeNearestNeighbor resized_images:T
ResourceGather output:dtype
ResourceGatherNd output:dtype
Restore tensor:dt
RestoreSlice tensor:dt
RestoreV2 tensors:dtypes[]
Reverse output:T
ReverseSequence output:T
ReverseV2 output:T
RightShift z:T
Rint y:T
Roll output:T
Round y:T
Rsqrt y:T
SampleDistortedBoundingBox begin:T size:T bboxes=float32
SampleDistortedBoundingBoxV2 begin:T size:T bboxes=float32
ScalarSummary summary=string
ScaleAndTranslate resized_images=float32
ScatterAdd output_ref:T
ScatterNd output:T
ScatterNdAdd output_ref:T
ScatterNdMax output_ref:T
ScatterNdMin output_ref:T
ScatterNdNonAliasingAdd output:T
ScatterNdSub output_ref:T
ScatterNdUpdate output_ref:T
ScatterUpdate output_ref:T
SegmentMax output:T
SegmentMaxV2 output:T
SegmentMean output:T
SegmentMin output:T
SegmentMinV2 output:T
SegmentProd output:T
SegmentProdV2 output:T
SegmentSum output:T
SegmentSumV2 output:T
Select output:T
SelectV2 output:T
SelfAdjointEig output:T
SelfAdjointEigV2 e:T v:T
Selu activations:T
SerializeManySparse serialized_sparse:out_type|string
SerializeSparse serialized_sparse:out_type|string
SerializeTensor serialized=string
SetSize size=int32
Shape output:out_type|int32
ShapeN output:out_type|int32*N
ShardedFilename filename=string
ShardedFilespec filename=string
Sigmoid y:T
SigmoidGrad z:T
Sign y:T
Sin y:T
Sinh y:T
Size output:out_type|int32
Slice output:T
Snapshot output:T
Softmax softmax:T
SoftmaxCrossEntropyWithLogits loss:T backprop:T
Softplus activations:T
Softsign activations:T
SpaceToBatch output:T
SpaceToBatchND output:T
SpaceToDepth output:T
SparseAccumulatorTakeGradient indices=int64 values:dtype shape=int64
SparseAdd sum_indices=int64 sum_values:T sum_shape=int64
SparseBincount output:T
SparseConcat output_indices=int64 output_values:T output_shape=int64
SparseCountSparseOutput output_indices=int64 output_values:output_type output_dense_shape=int64
SparseCross output_indices=int64 output_values:out_type output_shape=int64
SparseCrossHashed output_indices=int64 output_values=int64 output_shape=int64
SparseCrossV2 output_indices=int64 output_values=string output_shape=int64
SparseDenseCwiseAdd output:T
SparseDenseCwiseDiv output:T
SparseDenseCwiseMul output:T
SparseFillEmptyRows output_indices=int64 output_values:T empty_row_indicator=bool reverse_index_map=int64
SparseMatMul product=float32
SparseMatrixMatMul output:T
SparseReduceMax output:T
SparseReduceMaxSparse output_indices=int64 output_values:T output_shape=int64
SparseReduceSum output:T
SparseReduceSumSparse output_indices=int64 output_values:T output_shape=int64
SparseReorder output_indices=int64 output_values:T
SparseReshape output_indices=int64 output_shape=int64
SparseSegmentMean output:T
SparseSegmentMeanWithNumSegments output:T
SparseSegmentSqrtN output:T
SparseSegmentSqrtNWithNumSegments output:T
SparseSegmentSum output:T
SparseSegmentSumWithNumSegments output:T
SparseSlice output_indices=int64 output_values:T output_shape=int64
SparseSoftmax output:T
SparseSoftmaxCrossEntropyWithLogits loss:T backprop:T
SparseSparseMaximum output_indices=int64 output_values:T
SparseSparseMinimum output_indices=int64 output_values:T
SparseSplit output_indices=int64*num_split output_values:T*num_split output_shape=int64*num_split
SparseTensorDenseAdd output:T
SparseTensorDenseMatMul product:T
SparseToDense dense:T
SparseToSparseSetOperation result_indices=int64 result_values:T result_shape=int64
Spence y:T
Split output:T*num_split
SplitV output:T*num_split
Sqrt y:T
Square y:T
SquaredDifference z:T
Squeeze output:T
StatefulPartitionedCall output:Tout[]
StatefulStandardNormal output:dtype|float32
StatefulStandardNormalV2 output:dtype|float32
StatefulTruncatedNormal output:dtype|float32
StatefulUniform output:dtype|float32
StatefulUniformFullInt output:dtype|uint64
StatefulUniformInt output:dtype|int64
StatelessCase output:Tout[]
StatelessIf output:Tout[]
StatelessMultinomial output:output_dtype|int64
StatelessParameterizedTruncatedNormal output:dtype
StatelessRandomNormal output:dtype|float32
StatelessRandomNormalV2 output:dtype|float32
StatelessRandomUniform output:dtype|float32
StatelessRandomUniformFullInt output:dtype|uint64
StatelessRandomUniformFullIntV2 output:dtype|uint64
StatelessRandomUniformInt output:dtype
StatelessRandomUniformIntV2 output:dtype
StatelessRandomUniformV2 output:dtype|float32
StatelessSampleDistortedBoundingBox begin:T size:T bboxes=float32
StatelessShuffle output:T
StatelessTruncatedNormal output:dtype|float32
StatelessTruncatedNormalV2 output:dtype|float32
StatelessWhile output:T[]
StaticRegexFullMatch output=bool
StaticRegexReplace output=string
StopGradient output:T
StridedSlice output:T
StridedSliceAssign output_ref:T
StridedSliceGrad output:T
StringFormat output=string
StringJoin output=string
StringLength output=int32
StringLower output=string
StringNGrams ngrams=string ngrams_splits:Tsplits|int64
StringSplit indices=int64 values=string shape=int64
StringSplitV2 indices=int64 values=string shape=int64
StringStrip output=string
StringToHashBucket output=int64
StringToHashBucketFast output=int64
StringToHashBucketStrong output=int64
StringToNumber output:out_type|float32
StringUpper output=string
Sub z:T
Substr output=string
Sum output:T
Svd s:T u:T v:T
Switch output_false:T output_true:T
SymbolicGradient output:Tout[]
TFRecordReader reader_handle=string
TFRecordReaderV2 reader_handle=resource
TakeManySparseFromTensorsMap sparse_indices=int64 sparse_values:dtype sparse_shape=int64
Tan y:T
Tanh y:T
TanhGrad z:T
TensorArray handle=string
TensorArrayConcat value:dtype lengths=int64
TensorArrayConcatV2 value:dtype lengths=int64
TensorArrayConcatV3 value:dtype lengths=int64
TensorArrayGather value:dtype
TensorArrayGatherV2 value:dtype
TensorArrayGatherV3 value:dtype
TensorArrayGradWithShape grad_handle=resource flow_out=float32
TensorArrayPack value:dtype
TensorArrayRead value:dtype
TensorArrayReadV2 value:dtype
TensorArrayReadV3 value:dtype
TensorArrayScatter flow_out=float32
TensorArrayScatterV2 flow_out=float32
TensorArrayScatterV3 flow_out=float32
TensorArraySize size=int32
TensorArraySizeV2 size=int32
TensorArraySizeV3 size=int32
TensorArraySplit flow_out=float32
TensorArraySplitV2 flow_out=float32
TensorArraySplitV3 flow_out=float32
TensorArrayUnpack flow_out=float32
TensorArrayV2 handle=string
TensorArrayV3 handle=resource flow=float32
TensorArrayWrite flow_out=float32
TensorArrayWriteV2 flow_out=float32
TensorArrayWriteV3 flow_out=float32
TensorListConcat tensor:element_dtype lengths=int64
TensorListConcatLists output=variant
TensorListConcatV2 tensor:element_dtype lengths=int64
TensorListElementShape element_shape:shape_type
TensorListFromTensor output_handle=variant
TensorListGather values:element_dtype
TensorListGetItem item:element_dtype
TensorListLength length=int32
TensorListPopBack output_handle=variant tensor:element_dtype
TensorListPushBack output_handle=variant
TensorListPushBackBatch output_handles=variant
TensorListReserve handle=variant
TensorListResize output_handle=variant
TensorListScatter output_handle=variant
TensorListScatterIntoExistingList output_handle=variant
TensorListScatterV2 output_handle=variant
TensorListSetItem output_handle=variant
TensorListSplit output_handle=variant
TensorListStack tensor:element_dtype
TensorMapLookup value:value_dtype
TensorScatterAdd output:T
TensorScatterMax output:T
TensorScatterMin output:T
TensorScatterSub output:T
TensorScatterUpdate output:T
TensorStridedSliceUpdate output:T
TensorSummary summary=string
TensorSummaryV2 summary=string
TextLineReader reader_handle=string
TextLineReaderV2 reader_handle=resource
ThreadPoolHandle handle=resource
Tile output:T
Timestamp ts=float64
ToBool output=bool
TopK values:T indices=int32
TopKV2 values:T indices:index_type|int32
Transpose y:T
TridiagonalMatMul output:T
TridiagonalSolve output:T
TruncateDiv z:T
TruncateMod z:T
TruncatedNormal output:dtype
UncompressElement components:output_types[]
UnicodeDecode row_splits:Tsplits|int64 char_values=int32
UnicodeDecodeWithOffsets row_splits:Tsplits|int64 char_values=int32 char_to_byte_starts=int64
UnicodeEncode output=string
UnicodeScript output=int32
UnicodeTranscode output=string
UniformCandidateSampler sampled_candidates=int64 true_expected_count=float32 sampled_expected_count=float32
UniformDequantize output:Tout
UniformQuantize output:Tout
UniformQuantizedAdd output:T
UniformQuantizedConvolution output:Tout
UniformQuantizedDot output:Tout
UniformRequantize output:Tout
Unique y:T idx:out_idx|int32
UniqueV2 y:T idx:out_idx|int32
UniqueWithCounts y:T idx:out_idx|int32 count:out_idx|int32
UniqueWithCountsV2 y:T idx:out_idx|int32 count:out_idx|int32
Unpack output:T*num
UnravelIndex output:Tidx|int32
UnsortedSegmentJoin output=string
UnsortedSegmentMax output:T
UnsortedSegmentMin output:T
UnsortedSegmentProd output:T
UnsortedSegmentSum output:T
UpperBound output:out_type|int32
VarHandleOp resource=resource
VarIsInitializedOp is_initialized=bool
Variable ref:dtype
VariableShape output:out_type|int32
VariableV2 ref:dtype
Where index=int64
While output:T[]
WholeFileReader reader_handle=string
WholeFileReaderV2 reader_handle=resource
Xdivy z:T
XlaConv output:T
XlaConvV2 output:preferred_element_type
XlaDot output:T
XlaDotV2 output:preferred_element_type
XlaEinsum product:T
XlaPad output:T
XlaSharding output:T
Xlog1py z:T
Xlogy z:T
ZerosLike y:T
Zeta z:T
"""
