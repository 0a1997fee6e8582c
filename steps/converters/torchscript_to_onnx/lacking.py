"""What torch's exporter lacks, as ``tests/oracles/torchscript_operators.py`` finds it. Not to be changed by hand."""

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Operators of ATen without a counterpart in any opset, by their names behind ``aten::``.
LACKING: Final = _words("""
    _adaptive_avg_pool2d _add_batch_dim _add_relu _addmm_activation _aminmax _autocast_to_full_precision
    _autocast_to_reduced_precision _cast_Byte _cast_Char _cast_Double _cast_Float _cast_Half _cast_Int _cast_Long
    _cast_Short _cdist_forward _cholesky_solve_helper _chunk_cat _compute_linear_combination _conj_physical
    _dirichlet_grad _euclidean_dist _fake_quantize_learnable_per_tensor_affine _fused_rms_norm _fw_primal
    _lazy_clone _linalg_det _linalg_eigh _linalg_eigvals _linalg_slogdet _linalg_solve_ex _linalg_svd _logcumsumexp
    _lu_with_info _neg_view _neg_view_copy _nested_compute_contiguous_strides_offsets
    _nested_tensor_from_tensor_list _new_zeros_with_same_feature_meta _pad_circular _pad_enum _pdist_forward
    _prelu_kernel _remove_batch_dim _reshape_alias _reshape_alias_copy _safe_softmax _saturate_weight_to_fp16
    _scaled_dot_product_attention_math _scaled_dot_product_flash_attention_for_cpu _softmax _sparse_addmm
    _sparse_bsc_tensor_unsafe _sparse_bsr_tensor_unsafe _sparse_csc_tensor_unsafe _sparse_csr_tensor_unsafe
    _sparse_mm _stack _standard_gamma_grad _to_copy _to_sparse _to_sparse_bsc _to_sparse_bsr _to_sparse_csc
    _to_sparse_csr _unpack_dual _unsafe_index _unsafe_index_put _upsample_bicubic2d_aa _upsample_bilinear2d_aa
    _upsample_lanczos2d_aa _upsample_nearest_exact2d _weight_norm_interface addr alias_copy angle argwhere
    as_strided_copy batch_norm_update_stats binary_cross_entropy binomial bitwise_xor block_diag cartesian_prod
    cauchy chain_matmul chalf cholesky_inverse cholesky_solve choose_qparams_optimized column_stack combinations
    complex conj copy copysign corrcoef count_nonzero cov cpu cummax cummin cumprod cumulative_trapezoid data
    detach_copy diag diag_embed diagflat diagonal_copy diff digamma dist dstack erfinv exponential
    fake_quantize_per_tensor_affine_cachemask fbgemm_pack_gemm_matrix_fp16 fft_fft fft_fft2 fft_fftn fft_fftshift
    fft_hfft fft_hfft2 fft_hfftn fft_ifft fft_ifft2 fft_ifftn fft_ifftshift fft_ihfft fft_ihfft2 fft_ihfftn
    fft_irfft fft_irfft2 fft_irfftn fft_rfft fft_rfft2 fft_rfftn flatten_dense_tensors float_power fmax fmin frexp
    gcd geometric geqrf hash_tensor heaviside hinge_embedding_loss histc histogram huber_loss i0 igamma igammac
    inner isclose isin isneginf isposinf isreal kron kthvalue l1_loss lcm ldexp lgamma lift_fresh lift_fresh_copy
    linalg__powsum linalg_cholesky_ex linalg_cond linalg_diagonal linalg_eig linalg_eigh linalg_eigvals
    linalg_eigvalsh linalg_inv linalg_inv_ex linalg_ldl_factor linalg_ldl_factor_ex linalg_lstsq linalg_lu
    linalg_lu_factor linalg_lu_factor_ex linalg_matrix_exp linalg_matrix_power linalg_matrix_rank
    linalg_matrix_sqrth linalg_multi_dot linalg_pinv linalg_polar linalg_qr linalg_slogdet linalg_solve
    linalg_solve_ex linalg_solve_triangular linalg_svd linalg_svdvals linalg_vander linalg_vecdot log_normal
    log_sigmoid_forward logaddexp2 logcumsumexp mH mT margin_ranking_loss matrix_H median mkldnn_convolution mode
    msort mvlgamma nanmean nanmedian nanquantile nansum narrow_copy new_empty_strided nextafter nonzero_static
    norm_except_dim normal_functional nuclear_norm pad_sequence pdist pinverse poisson poisson_nll_loss polar
    polygamma put quantile random ravel real renorm resize resize_as rnn_relu_cell rnn_tanh_cell rot90
    rrelu_with_noise rrelu_with_noise_functional searchsorted select_copy set signbit sinc slice_copy slice_inverse
    slice_scatter slogdet smooth_l1_loss soft_margin_loss sparse_bsc_tensor sparse_bsr_tensor sparse_coo_tensor
    sparse_csc_tensor sparse_csr_tensor special_airy_ai special_bessel_j0 special_bessel_j1 special_bessel_y0
    special_bessel_y1 special_chebyshev_polynomial_t special_chebyshev_polynomial_u special_chebyshev_polynomial_v
    special_chebyshev_polynomial_w special_entr special_erfcx special_hermite_polynomial_h
    special_hermite_polynomial_he special_i0e special_i1 special_i1e special_laguerre_polynomial_l
    special_legendre_polynomial_p special_log_ndtr special_modified_bessel_i0 special_modified_bessel_i1
    special_modified_bessel_k0 special_modified_bessel_k1 special_ndtr special_ndtri
    special_scaled_modified_bessel_k0 special_scaled_modified_bessel_k1 special_shifted_chebyshev_polynomial_t
    special_shifted_chebyshev_polynomial_u special_shifted_chebyshev_polynomial_v
    special_shifted_chebyshev_polynomial_w special_spherical_bessel_j0 special_xlog1py special_zeta squeeze_copy
    sum_to_size svd t_copy take_along_dim to_dense to_mkldnn to_sparse to_sparse_bsc to_sparse_bsr to_sparse_csc
    to_sparse_csr trace transpose_copy trapezoid trapz triangular_solve triplet_margin_loss unfold_copy uniform
    unique_consecutive unique_dim_consecutive unsqueeze_copy vander vdot view_copy xlogy
""")
