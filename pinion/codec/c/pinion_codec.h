#pragma once
// The tensor codec for C, and for what can call C: docs/c_api.md. What it codes, and what the modes mean:
// pinion/codec/codec.h and docs/format.md.
//
// Threads: nothing is global. A handle is used by one thread at a time; a calibration may be shared.
// Ownership: arguments are borrowed for the call, except where said. What a call hands out belongs to the
// library until the function named there frees it; that takes NULL, or what was freed already, too.
// Failures: no call throws or ends the process because of arguments or outside bytes. After one, the status
// and `error`, which may be NULL, say why, outputs are as if freed, and a stream is as before; but after
// PINION_OUT_OF_MEMORY and PINION_INTERNAL a handle is only good for freeing.
// Growth: every struct begins with struct_bytes, set to its sizeof. Later versions add fields at the end,
// where 0 means what this one does; what is neither known nor 0 is PINION_UNSUPPORTED.

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t pinion_status;
enum {
  PINION_OK = 0,
  PINION_INVALID_ARGUMENT = 1,  // the call itself is wrong
  PINION_BAD_FORMAT = 2,        // bytes that do not follow docs/format.md
  PINION_NEED_MORE_BYTES = 3,   // bytes that end too early
  PINION_TOO_LARGE = 4,         // over the caller's limits
  PINION_UNSUPPORTED = 5,       // of a newer version
  PINION_NOT_FOUND = 6,         // needs a basis, calibration or earlier frame that is not here
  PINION_OUT_OF_MEMORY = 7,
  PINION_INTERNAL = 8
};

typedef struct pinion_error {
  size_t struct_bytes;
  pinion_status status;
  char text[256];  // what and where; ends with 0, cut off if need be
  char hint[256];  // what to do; empty if the text says it all
} pinion_error;

// The numbers of docs/format.md, section 2.2.
typedef int32_t pinion_dtype;
enum {
  PINION_F32 = 0,
  PINION_F16 = 1,
  PINION_BF16 = 2,
  PINION_F8_E4M3 = 3,
  PINION_F8_E5M2 = 4,
  PINION_F64 = 5,
  PINION_I64 = 6,
  PINION_I32 = 7,
  PINION_I16 = 8,
  PINION_I8 = 9,
  PINION_U8 = 10,
  PINION_BOOL = 11
};

// A tensor in host memory, row-major and contiguous: [.., rows, channels].
typedef struct pinion_tensor_view {
  size_t struct_bytes;
  const void* data;    // of any alignment; may be NULL if there are no elements
  int64_t extents[8];  // outermost first; those beyond the rank do not count
  pinion_dtype dtype;
  int32_t rank;  // 0 to 8
} pinion_tensor_view;

// What the receiver will give. There are no defaults: 0 allows nothing.
typedef struct pinion_limits {
  size_t struct_bytes;
  size_t max_tensor_bytes;          // of a decoded tensor
  size_t max_channels;              // of a tensor or basis
  uint64_t max_basis_coefficients;  // of all bases of a decoder, 4 bytes each; 4 * channels^2 is plenty
} pinion_limits;

// What both ends know of a step besides the frame, for profile "calibrated" only (docs/format.md, §12).
typedef struct pinion_step_context {
  size_t struct_bytes;
  const float* latents;           // [rows of the tensor, latents of the calibration], finite
  const float* previous_latents;  // of the step before; NULL where they are not known
  size_t latents_count;           // floats, of each of the two
  int64_t output_rows;            // rows of the model's output, which the target is about; unused in decoding
  float sigma;
  float previous_sigma;
  int32_t has_previous_sigma;       // 0 at a job's first step
  size_t grid_columns, grid_lines;  // of the rows in each picture, for smaller frames; 0: not known
} pinion_step_context;

typedef struct pinion_bytes {
  const uint8_t* data;
  size_t size;
  void* owner;  // the library's
} pinion_bytes;

// One coded tensor. The numbers are those of FrameStats in pinion/codec/codec.h.
typedef struct pinion_encoded {
  size_t struct_bytes;
  pinion_bytes frame, basis;  // the decoder needs the basis first; size 0 if none
  size_t tensor_bytes;
  double ideal_index_bits;
  double snr_db, cosine, max_error;  // snr_db is infinite in exact modes; all are 0 if not measured
  double output_snr_db;
  int32_t key_frame;  // 1 if decodable without an earlier frame
} pinion_encoded;

typedef struct pinion_decoded {
  size_t struct_bytes;
  pinion_tensor_view tensor;  // for reading only: the decoder may predict from the same memory
  void* owner;                // the library's
} pinion_decoded;

typedef struct pinion_frame_info {
  size_t struct_bytes;
  size_t frame_bytes;
  int64_t extents[8];
  pinion_dtype dtype;
  int32_t rank, mode;    // docs/format.md, section 2.1
  int32_t key_frame;     // 1 if decodable without an earlier frame
  double step_size;      // 0 in exact modes
  double output_snr_db;  // predicted by a calibrated frame, else 0
  char basis_hash[33];   // of the basis or calibration that it needs; empty if none
} pinion_frame_info;

typedef struct pinion_encoder_options {
  size_t struct_bytes;
  int32_t threads;                // that share a tensor's chunks, 1 to 256; 0 is 1: the caller's alone
  int32_t unmeasured;             // 1: leave snr_db, cosine and max_error of bounded, int8 and int4 at 0
  size_t calibrated_frame_bytes;  // profile "calibrated": if not 0, a budget for each frame, not a target
} pinion_encoder_options;

typedef struct pinion_calibration_info {
  size_t struct_bytes;
  size_t channels, components, latents;
  uint32_t cut;
  char stream[65];
  char model_hash[65];
  char hash[33];         // as in pinion_frame_info.basis_hash
  int32_t has_response;  // 1: encoders know what to add to the velocity (pinion_encoder_correction)
} pinion_calibration_info;

typedef struct pinion_encoder pinion_encoder;          // one stream's sending side
typedef struct pinion_decoder pinion_decoder;          // one stream's receiving side
typedef struct pinion_calibration pinion_calibration;  // immutable

const char* pinion_codec_version(void);                // such as "0.1.0"
const char* pinion_status_name(pinion_status status);  // such as "bad_format"; "unknown" for other numbers

// Reads an asset of docs/format.md, section 13, of at most `max_values` numbers.
pinion_status pinion_calibration_parse(const void* asset, size_t asset_bytes, uint64_t max_values,
                                       pinion_calibration** calibration, pinion_error* error);
pinion_status pinion_calibration_describe(const pinion_calibration* calibration,
                                          pinion_calibration_info* info, pinion_error* error);
// Encoders and decoders that were made with it keep what they need.
void pinion_calibration_free(pinion_calibration* calibration);

// Profiles: "raw", "lossless", "bounded:.01", "bounded:rel:.01", "int8", "int4", "fidelity:20", "cos:.995",
// "calibrated:30" or, for a frame, "calibrated:64kB": they alone take a calibration. `options` may be NULL.
pinion_status pinion_encoder_create(const char* profile, const pinion_calibration* calibration,
                                    const pinion_encoder_options* options, pinion_encoder** encoder,
                                    pinion_error* error);
// Codes the stream's next tensor. `context` is NULL unless the profile is "calibrated". Free what is
// `encoded` with pinion_encoded_free: it does not depend on the encoder's life.
pinion_status pinion_encoder_encode(pinion_encoder* encoder, const pinion_tensor_view* tensor,
                                    const pinion_step_context* context, pinion_encoded* encoded,
                                    pinion_error* error);
// With a calibration that has a response: what to add to the velocity that the last frame, of this tensor and
// context, leads to, [rows, latents] floats. PINION_INVALID_ARGUMENT: there is none, or not so many.
pinion_status pinion_encoder_correction(pinion_encoder* encoder, const pinion_tensor_view* tensor,
                                        const pinion_step_context* context, float* correction, size_t count,
                                        pinion_error* error);
// The next frame refers to no earlier one: after a lost frame or a reconnect.
pinion_status pinion_encoder_restart(pinion_encoder* encoder, pinion_error* error);
// The other side holds this basis (32 hex digits): it is not sent again.
pinion_status pinion_encoder_assume_known_basis(pinion_encoder* encoder, const char* hash,
                                                pinion_error* error);
// Starts with a basis of an earlier stream instead of computing one.
pinion_status pinion_encoder_offer_basis(pinion_encoder* encoder, const void* basis, size_t basis_bytes,
                                         pinion_error* error);
void pinion_encoder_free(pinion_encoder* encoder);
void pinion_encoded_free(pinion_encoded* encoded);

// `calibration` may be NULL: calibrated frames are then PINION_UNSUPPORTED. `threads` as in the options.
pinion_status pinion_decoder_create(const pinion_calibration* calibration, int32_t threads,
                                    pinion_decoder** decoder, pinion_error* error);
pinion_status pinion_decoder_add_basis(pinion_decoder* decoder, const void* basis, size_t basis_bytes,
                                       const pinion_limits* limits, pinion_error* error);
// Decodes the stream's next frame. `context` may be NULL unless the frame is calibrated. Free what is
// `decoded` with pinion_decoded_free: it does not depend on the decoder's life.
pinion_status pinion_decoder_decode(pinion_decoder* decoder, const void* frame, size_t frame_bytes,
                                    const pinion_step_context* context, const pinion_limits* limits,
                                    pinion_decoded* decoded, pinion_error* error);
void pinion_decoder_free(pinion_decoder* decoder);
void pinion_decoded_free(pinion_decoded* decoded);

// Reads the header only.
pinion_status pinion_codec_inspect(const void* frame, size_t frame_bytes, const pinion_limits* limits,
                                   pinion_frame_info* info, pinion_error* error);

#ifdef __cplusplus
}
#endif
