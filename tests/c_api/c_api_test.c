/* The codec's C interface as a C program uses it, and misuses it. Arguments: calibration assets for 10 channels
   and 3 latents, without and with a response (tests/golden/calibrated, calibrated_response: asset.pnc). */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pinion/codec/c/pinion_codec.h"

#define CHECK(condition)                                                  \
  do {                                                                    \
    if (!(condition)) {                                                   \
      fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                            \
    }                                                                     \
  } while (0)

enum { kRows = 192, kChannels = 64, kValues = kRows * kChannels };

static pinion_error error = {.struct_bytes = sizeof(pinion_error)};

static void check_ok(pinion_status status, int line) {
  if (status == PINION_OK && error.status == PINION_OK) return;
  fprintf(stderr, "line %d: %s: %s\n", line, pinion_status_name(status), error.text);
  exit(1);
}
#define OK(call) check_ok(call, __LINE__)

/* A refusal says the same in both places, and why. */
static void check_refused(pinion_status status, pinion_status expected, int line) {
  if (status == expected && error.status == expected && error.text[0] != 0) return;
  fprintf(stderr, "line %d: %s, not %s: %s\n", line, pinion_status_name(status), pinion_status_name(expected),
          error.text);
  exit(1);
}
#define REFUSED(expected, call) check_refused(call, expected, __LINE__)

static pinion_tensor_view view_of(const void* data, int64_t rows, int64_t channels, pinion_dtype dtype) {
  const pinion_tensor_view view = {
      .struct_bytes = sizeof view, .data = data, .extents = {rows, channels}, .dtype = dtype, .rank = 2};
  return view;
}

static pinion_limits limits_for(size_t bytes, size_t channels) {
  const pinion_limits limits = {.struct_bytes = sizeof limits,
                                .max_tensor_bytes = bytes,
                                .max_channels = channels,
                                .max_basis_coefficients = 4 * channels * channels};
  return limits;
}

/* In (-1, 1), the same on every machine. */
static float noise(void) {
  static uint32_t state = 1;
  state = state * 1664525u + 1013904223u;
  return (float)(state >> 8) / 8388608.0f - 1.0f;
}

/* Rows near a few directions, and every step near the one before: there is something to learn. */
static void fill(float* values, int step) {
  static float along[kRows][4], directions[4][kChannels];
  if (step == 0) {
    for (int r = 0; r < kRows; ++r)
      for (int k = 0; k < 4; ++k) along[r][k] = 4 * noise();
    for (int k = 0; k < 4; ++k)
      for (int c = 0; c < kChannels; ++c) directions[k][c] = noise();
  }
  for (int r = 0; r < kRows; ++r) {
    for (int k = 0; k < 4; ++k) along[r][k] += 0.2f * noise();
    for (int c = 0; c < kChannels; ++c) {
      float value = 0.02f * noise();
      for (int k = 0; k < 4; ++k) value += along[r][k] * directions[k][c];
      values[r * kChannels + c] = value;
    }
  }
}

static double largest_error(const float* a, const float* b) {
  double largest = 0;
  for (int i = 0; i < kValues; ++i) largest = fmax(largest, fabs((double)a[i] - (double)b[i]));
  return largest;
}

static double snr_db(const float* original, const float* decoded) {
  double signal = 0, difference = 0;
  for (int c = 0; c < kChannels; ++c) {
    double mean = 0;
    for (int r = 0; r < kRows; ++r) mean += (double)original[r * kChannels + c] / kRows;
    for (int i = c; i < kValues; i += kChannels) {
      signal += pow((double)original[i] - mean, 2);
      difference += pow((double)original[i] - (double)decoded[i], 2);
    }
  }
  return difference == 0 ? INFINITY : 10 * log10(signal / difference);
}

typedef struct {
  const char* profile;
  int32_t mode;
  double most_error; /* of an element; 0: exact */
  double least_snr_db, most_snr_db;
  int32_t predicts; /* later frames need earlier ones */
} mode_case;

static void check_mode(const mode_case* wanted, int32_t threads) {
  static float values[kValues];
  const pinion_encoder_options options = {.struct_bytes = sizeof options, .threads = threads};
  const pinion_limits limits = limits_for(sizeof values, kChannels);
  pinion_encoder* encoder = NULL;
  pinion_decoder* decoder = NULL;
  OK(pinion_encoder_create(wanted->profile, NULL, &options, &encoder, &error));
  OK(pinion_decoder_create(NULL, threads, &decoder, &error));
  for (int step = 0; step < 4; ++step) {
    fill(values, step);
    const pinion_tensor_view tensor = view_of(values, kRows, kChannels, PINION_F32);
    pinion_encoded encoded = {.struct_bytes = sizeof encoded};
    if (step == 3) OK(pinion_encoder_restart(encoder, &error));
    OK(pinion_encoder_encode(encoder, &tensor, NULL, &encoded, &error));
    CHECK(encoded.tensor_bytes == sizeof values);
    CHECK(encoded.key_frame == (step == 0 || step == 3 || !wanted->predicts));
    if (encoded.basis.size > 0)
      OK(pinion_decoder_add_basis(decoder, encoded.basis.data, encoded.basis.size, &limits, &error));

    pinion_frame_info info = {.struct_bytes = sizeof info};
    OK(pinion_codec_inspect(encoded.frame.data, encoded.frame.size, &limits, &info, &error));
    CHECK(info.mode == wanted->mode && info.dtype == PINION_F32 && info.rank == 2);
    CHECK(info.extents[0] == kRows && info.extents[1] == kChannels && info.extents[2] == 0);
    CHECK(info.frame_bytes == encoded.frame.size && info.key_frame == encoded.key_frame);
    CHECK(strlen(info.basis_hash) == (encoded.basis.size > 0 ? 32u : strlen(info.basis_hash)));

    pinion_decoded decoded = {.struct_bytes = sizeof decoded};
    OK(pinion_decoder_decode(decoder, encoded.frame.data, encoded.frame.size, NULL, &limits, &decoded, &error));
    CHECK(decoded.tensor.rank == 2 && decoded.tensor.dtype == PINION_F32);
    CHECK(decoded.tensor.extents[0] == kRows && decoded.tensor.extents[1] == kChannels);
    const double snr = snr_db(values, decoded.tensor.data);
    if (snr < wanted->least_snr_db || snr > wanted->most_snr_db) {
      fprintf(stderr, "%s: %f dB\n", wanted->profile, snr);
      exit(1);
    }
    CHECK(isinf(snr) ? isinf(encoded.snr_db) : fabs(snr - encoded.snr_db) < 0.01);
    CHECK(largest_error(values, decoded.tensor.data) <= wanted->most_error);

    /* Only once, however often it is asked for. */
    pinion_decoded_free(&decoded);
    CHECK(decoded.tensor.data == NULL && decoded.owner == NULL);
    pinion_decoded_free(&decoded);
    pinion_encoded_free(&encoded);
    CHECK(encoded.frame.data == NULL && encoded.frame.size == 0);
    pinion_encoded_free(&encoded);
  }
  pinion_encoder_free(encoder);
  pinion_decoder_free(decoder);
}

static void check_modes(void) {
  const double none = INFINITY;
  const mode_case cases[] = {
      {"raw", 0, 0, none, none, 0},          {"lossless", 1, 0, none, none, 1},
      {"fidelity:30", 2, none, 29.9, 30.5, 1}, {"bounded:.01", 3, .01, 20, 80, 1},
      {"int8", 4, .1, 35, 60, 0},            {"int4", 5, 2, 12, 30, 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
    for (int32_t threads = 0; threads <= 2; ++threads) check_mode(&cases[i], threads);
  }
}

static void check_bases(void) {
  static float values[kValues];
  const pinion_limits limits = limits_for(sizeof values, kChannels);
  fill(values, 0);
  const pinion_tensor_view tensor = view_of(values, kRows, kChannels, PINION_F32);
  pinion_encoder *first = NULL, *second = NULL;
  pinion_decoder* decoder = NULL;
  pinion_encoded sent = {.struct_bytes = sizeof sent}, again = {.struct_bytes = sizeof again};
  pinion_decoded decoded = {.struct_bytes = sizeof decoded};
  pinion_frame_info info = {.struct_bytes = sizeof info};
  OK(pinion_encoder_create("fidelity:20", NULL, NULL, &first, &error));
  OK(pinion_encoder_encode(first, &tensor, NULL, &sent, &error));
  CHECK(sent.basis.size > 0);
  OK(pinion_codec_inspect(sent.frame.data, sent.frame.size, &limits, &info, &error));

  OK(pinion_decoder_create(NULL, 1, &decoder, &error));
  REFUSED(PINION_NOT_FOUND,
          pinion_decoder_decode(decoder, sent.frame.data, sent.frame.size, NULL, &limits, &decoded, &error));
  pinion_limits small = limits;
  small.max_channels = kChannels - 1;
  REFUSED(PINION_TOO_LARGE,
          pinion_decoder_add_basis(decoder, sent.basis.data, sent.basis.size, &small, &error));
  small = limits;
  small.max_basis_coefficients = kChannels - 1;
  REFUSED(PINION_TOO_LARGE,
          pinion_decoder_add_basis(decoder, sent.basis.data, sent.basis.size, &small, &error));
  REFUSED(PINION_BAD_FORMAT,
          pinion_decoder_add_basis(decoder, sent.frame.data, sent.frame.size, &limits, &error));
  OK(pinion_decoder_add_basis(decoder, sent.basis.data, sent.basis.size, &limits, &error));
  OK(pinion_decoder_decode(decoder, sent.frame.data, sent.frame.size, NULL, &limits, &decoded, &error));

  OK(pinion_encoder_create("fidelity:20", NULL, NULL, &second, &error));
  OK(pinion_encoder_assume_known_basis(second, info.basis_hash, &error));
  OK(pinion_encoder_offer_basis(second, sent.basis.data, sent.basis.size, &error));
  REFUSED(PINION_NEED_MORE_BYTES, pinion_encoder_offer_basis(second, sent.basis.data, 5, &error));
  OK(pinion_encoder_encode(second, &tensor, NULL, &again, &error));
  CHECK(again.basis.size == 0 && again.frame.size > 0);

  /* What was handed out outlives the handles. */
  pinion_encoder_free(first);
  pinion_encoder_free(second);
  pinion_decoder_free(decoder);
  CHECK(snr_db(values, decoded.tensor.data) > 19.9);
  pinion_decoded_free(&decoded);
  pinion_encoded_free(&sent);
  pinion_encoded_free(&again);
}

static void check_misuse(void) {
  static float values[kValues];
  fill(values, 0);
  const pinion_limits limits = limits_for(sizeof values, kChannels);
  const pinion_tensor_view good = view_of(values, kRows, kChannels, PINION_F32);
  pinion_encoder* encoder = NULL;
  pinion_decoder* decoder = NULL;
  pinion_encoded encoded = {.struct_bytes = sizeof encoded};
  pinion_decoded decoded = {.struct_bytes = sizeof decoded};
  OK(pinion_decoder_create(NULL, 1, &decoder, &error));

  REFUSED(PINION_INVALID_ARGUMENT, pinion_encoder_create(NULL, NULL, NULL, &encoder, &error));
  REFUSED(PINION_INVALID_ARGUMENT, pinion_encoder_create("raw", NULL, NULL, NULL, &error));
  REFUSED(PINION_INVALID_ARGUMENT, pinion_encoder_create("best", NULL, NULL, &encoder, &error));
  CHECK(strstr(error.hint, "fidelity:DB") != NULL && encoder == NULL);
  REFUSED(PINION_INVALID_ARGUMENT, pinion_encoder_create("calibrated:30", NULL, NULL, &encoder, &error));
  pinion_encoder_options options = {.struct_bytes = sizeof options, .threads = 257};
  REFUSED(PINION_INVALID_ARGUMENT, pinion_encoder_create("raw", NULL, &options, &encoder, &error));
  options.struct_bytes = 0;
  REFUSED(PINION_INVALID_ARGUMENT, pinion_encoder_create("raw", NULL, &options, &encoder, &error));
  OK(pinion_encoder_create("lossless", NULL, NULL, &encoder, &error));

  REFUSED(PINION_INVALID_ARGUMENT, pinion_encoder_encode(NULL, &good, NULL, &encoded, &error));
  REFUSED(PINION_INVALID_ARGUMENT, pinion_encoder_encode(encoder, NULL, NULL, &encoded, &error));
  REFUSED(PINION_INVALID_ARGUMENT, pinion_encoder_encode(encoder, &good, NULL, NULL, &error));
  const pinion_step_context context = {.struct_bytes = sizeof context};
  REFUSED(PINION_INVALID_ARGUMENT, pinion_encoder_encode(encoder, &good, &context, &encoded, &error));
  pinion_tensor_view bad = good;
#define BAD(change)                                                                             \
  bad = good, change;                                                                           \
  REFUSED(PINION_INVALID_ARGUMENT, pinion_encoder_encode(encoder, &bad, NULL, &encoded, &error)); \
  CHECK(encoded.frame.data == NULL && encoded.frame.size == 0)
  BAD(bad.data = NULL);
  BAD(bad.rank = -1);
  BAD(bad.rank = 9);
  BAD(bad.dtype = 12);
  BAD(bad.dtype = -1);
  BAD(bad.dtype = 256);
  BAD(bad.extents[0] = -1);
  BAD(bad.extents[1] = INT64_C(1) << 31);
  BAD((bad.rank = 4, bad.extents[2] = bad.extents[3] = (INT64_C(1) << 31) - 1));
  BAD((bad.rank = 3, bad.extents[2] = 0, bad.extents[0] = bad.extents[1] = (INT64_C(1) << 31) - 1));
  BAD(bad.struct_bytes = sizeof bad - 1);

  OK(pinion_encoder_encode(encoder, &good, NULL, &encoded, &error));
  const uint8_t* frame = encoded.frame.data;
  const size_t size = encoded.frame.size;
  REFUSED(PINION_INVALID_ARGUMENT, pinion_decoder_decode(NULL, frame, size, NULL, &limits, &decoded, &error));
  REFUSED(PINION_INVALID_ARGUMENT, pinion_decoder_decode(decoder, NULL, size, NULL, &limits, &decoded, &error));
  REFUSED(PINION_INVALID_ARGUMENT, pinion_decoder_decode(decoder, frame, size, NULL, NULL, &decoded, &error));
  REFUSED(PINION_INVALID_ARGUMENT, pinion_decoder_decode(decoder, frame, size, NULL, &limits, NULL, &error));
  REFUSED(PINION_NEED_MORE_BYTES, pinion_decoder_decode(decoder, NULL, 0, NULL, &limits, &decoded, &error));
  REFUSED(PINION_NEED_MORE_BYTES,
          pinion_decoder_decode(decoder, frame, size - 1, NULL, &limits, &decoded, &error));
  const pinion_limits nothing = {.struct_bytes = sizeof nothing};
  REFUSED(PINION_TOO_LARGE, pinion_decoder_decode(decoder, frame, size, NULL, &nothing, &decoded, &error));
  uint8_t* damaged = malloc(size);
  CHECK(damaged != NULL);
  for (size_t at = 0; at < size; at += 97) {
    memcpy(damaged, frame, size);
    damaged[at] ^= 0x10;
    CHECK(pinion_decoder_decode(decoder, damaged, size, NULL, &limits, &decoded, NULL) != PINION_OK);
    CHECK(decoded.tensor.data == NULL && decoded.owner == NULL);
  }
  free(damaged);
  /* None of it changed the stream. */
  OK(pinion_decoder_decode(decoder, frame, size, NULL, &limits, &decoded, &error));
  CHECK(memcmp(decoded.tensor.data, values, sizeof values) == 0);
  pinion_decoded_free(&decoded);
  pinion_encoded_free(&encoded);

  REFUSED(PINION_INVALID_ARGUMENT, pinion_encoder_restart(NULL, &error));
  REFUSED(PINION_INVALID_ARGUMENT, pinion_encoder_assume_known_basis(encoder, NULL, &error));
  pinion_encoder_free(encoder);
  pinion_decoder_free(decoder);
  REFUSED(PINION_INVALID_ARGUMENT, pinion_decoder_create(NULL, -1, &decoder, &error));
  CHECK(decoder == NULL);
  pinion_encoder_free(NULL);
  pinion_decoder_free(NULL);
  pinion_calibration_free(NULL);
  pinion_encoded_free(NULL);
  pinion_decoded_free(NULL);
}

/* Structs of later versions: longer ones. */
static void check_growth(void) {
  struct {
    pinion_limits limits;
    uint64_t later;
  } longer = {.limits = limits_for(1024, 16)};
  longer.limits.struct_bytes = sizeof longer;
  struct {
    pinion_decoded decoded;
    uint64_t later;
  } out = {.later = 7};
  out.decoded.struct_bytes = sizeof out;
  const float values[4] = {1, 2, 3, 4};
  const pinion_tensor_view tensor = view_of(values, 2, 2, PINION_F32);
  pinion_encoder* encoder = NULL;
  pinion_decoder* decoder = NULL;
  pinion_encoded encoded = {.struct_bytes = sizeof encoded};
  OK(pinion_encoder_create("raw", NULL, NULL, &encoder, &error));
  OK(pinion_decoder_create(NULL, 1, &decoder, &error));
  OK(pinion_encoder_encode(encoder, &tensor, NULL, &encoded, &error));
  OK(pinion_decoder_decode(decoder, encoded.frame.data, encoded.frame.size, NULL, &longer.limits, &out.decoded,
                           &error));
  CHECK(out.later == 0 && out.decoded.struct_bytes == sizeof out);
  CHECK(memcmp(out.decoded.tensor.data, values, sizeof values) == 0);
  pinion_decoded_free(&out.decoded);
  longer.later = 1;
  REFUSED(PINION_UNSUPPORTED, pinion_decoder_decode(decoder, encoded.frame.data, encoded.frame.size, NULL,
                                                    &longer.limits, &out.decoded, &error));
  /* An error struct that is too short is not written to. */
  pinion_error silent = {.struct_bytes = 8, .status = 42};
  CHECK(pinion_encoder_restart(NULL, &silent) == PINION_INVALID_ARGUMENT && silent.status == 42);
  pinion_encoded_free(&encoded);
  pinion_encoder_free(encoder);
  pinion_decoder_free(decoder);
}

enum { kStreamRows = 24, kStreamChannels = 10, kLatents = 3 };
static uint8_t asset[65536];

static size_t read_asset(const char* path) {
  FILE* file = fopen(path, "rb");
  CHECK(file != NULL);
  const size_t size = fread(asset, 1, sizeof asset, file);
  fclose(file);
  return size;
}

/* The better a state is coded, the less there is to correct. */
static void check_correction(const char* path) {
  const size_t size = read_asset(path);
  pinion_calibration* calibration = NULL;
  OK(pinion_calibration_parse(asset, size, UINT64_MAX, &calibration, &error));
  pinion_calibration_info known = {.struct_bytes = sizeof known};
  OK(pinion_calibration_describe(calibration, &known, &error));
  CHECK(known.has_response == 1);
  float values[kStreamRows * kStreamChannels], latents[kStreamRows * kLatents];
  for (size_t i = 0; i < sizeof values / sizeof values[0]; ++i) values[i] = noise();
  for (size_t i = 0; i < sizeof latents / sizeof latents[0]; ++i) latents[i] = noise();
  const pinion_tensor_view tensor = view_of(values, kStreamRows, kStreamChannels, PINION_F32);
  const pinion_step_context context = {.struct_bytes = sizeof context,
                                       .latents = latents,
                                       .latents_count = kStreamRows * kLatents,
                                       .output_rows = kStreamRows,
                                       .sigma = 1};
  const char* const profiles[2] = {"calibrated:10", "calibrated:40"};
  double energies[2] = {0, 0};
  for (int which = 0; which < 2; ++which) {
    pinion_encoder* encoder = NULL;
    OK(pinion_encoder_create(profiles[which], calibration, NULL, &encoder, &error));
    float correction[kStreamRows * kLatents];
    const size_t count = sizeof correction / sizeof correction[0];
    REFUSED(PINION_INVALID_ARGUMENT,
            pinion_encoder_correction(encoder, &tensor, &context, correction, count, &error)); /* no frame */
    pinion_encoded encoded = {.struct_bytes = sizeof encoded};
    OK(pinion_encoder_encode(encoder, &tensor, &context, &encoded, &error));
    pinion_encoded_free(&encoded);
    REFUSED(PINION_INVALID_ARGUMENT,
            pinion_encoder_correction(encoder, &tensor, &context, correction, count - 1, &error));
    REFUSED(PINION_INVALID_ARGUMENT,
            pinion_encoder_correction(encoder, &tensor, NULL, correction, count, &error));
    REFUSED(PINION_INVALID_ARGUMENT, pinion_encoder_correction(encoder, &tensor, &context, NULL, count, &error));
    OK(pinion_encoder_correction(encoder, &tensor, &context, correction, count, &error));
    for (size_t i = 0; i < count; ++i) energies[which] += (double)correction[i] * correction[i];
    pinion_encoder_free(encoder);
  }
  CHECK(energies[0] > 0 && energies[1] > 0 && energies[1] < 0.9 * energies[0]);
  pinion_calibration_free(calibration);
}

static void check_calibrated(const char* path) {
  const size_t size = read_asset(path);

  pinion_calibration* calibration = NULL;
  REFUSED(PINION_TOO_LARGE, pinion_calibration_parse(asset, size, 10, &calibration, &error));
  REFUSED(PINION_NEED_MORE_BYTES, pinion_calibration_parse(asset, size - 1, UINT64_MAX, &calibration, &error));
  asset[size / 2] ^= 1;
  REFUSED(PINION_BAD_FORMAT, pinion_calibration_parse(asset, size, UINT64_MAX, &calibration, &error));
  asset[size / 2] ^= 1;
  CHECK(calibration == NULL);
  OK(pinion_calibration_parse(asset, size, UINT64_MAX, &calibration, &error));
  pinion_calibration_info known = {.struct_bytes = sizeof known};
  OK(pinion_calibration_describe(calibration, &known, &error));
  CHECK(known.channels == kStreamChannels && known.latents == kLatents && known.components == 4);
  CHECK(known.has_response == 0);
  CHECK(known.cut == 3 && strcmp(known.stream, "image") == 0 && strlen(known.model_hash) == 64);

  pinion_encoder* encoder = NULL;
  pinion_decoder *decoder = NULL, *without = NULL;
  REFUSED(PINION_INVALID_ARGUMENT, pinion_encoder_create("fidelity:20", calibration, NULL, &encoder, &error));
  OK(pinion_encoder_create("calibrated:35", calibration, NULL, &encoder, &error));
  OK(pinion_decoder_create(calibration, 1, &decoder, &error));
  OK(pinion_decoder_create(NULL, 1, &without, &error));
  pinion_calibration_free(calibration); /* They keep it. */

  float values[kStreamRows * kStreamChannels], latents[2][kStreamRows * kLatents];
  const pinion_tensor_view tensor = view_of(values, kStreamRows, kStreamChannels, PINION_F32);
  const pinion_limits limits = limits_for(sizeof values, kStreamChannels);
  pinion_encoded encoded = {.struct_bytes = sizeof encoded};
  pinion_decoded decoded = {.struct_bytes = sizeof decoded};
  for (int step = 0; step < 2; ++step) {
    for (size_t i = 0; i < sizeof values / sizeof values[0]; ++i) values[i] = noise();
    for (int i = 0; i < kStreamRows * kLatents; ++i) latents[step][i] = noise();
    pinion_step_context context = {.struct_bytes = sizeof context,
                                   .latents = latents[step],
                                   .previous_latents = step > 0 ? latents[step - 1] : NULL,
                                   .latents_count = kStreamRows * kLatents,
                                   .output_rows = kStreamRows,
                                   .sigma = 1.0f - 0.25f * (float)step,
                                   .previous_sigma = 1,
                                   .has_previous_sigma = step > 0};
    REFUSED(PINION_INVALID_ARGUMENT, pinion_encoder_encode(encoder, &tensor, NULL, &encoded, &error));
    OK(pinion_encoder_encode(encoder, &tensor, &context, &encoded, &error));
    CHECK(encoded.key_frame == (step == 0) && encoded.basis.size == 0);
    CHECK(fabs(encoded.output_snr_db - 35) < 3);
    float correction[kStreamRows * kLatents];
    REFUSED(PINION_INVALID_ARGUMENT, pinion_encoder_correction(encoder, &tensor, &context, correction,
                                                               kStreamRows * kLatents, &error));
    pinion_frame_info info = {.struct_bytes = sizeof info};
    OK(pinion_codec_inspect(encoded.frame.data, encoded.frame.size, &limits, &info, &error));
    CHECK(info.mode == 6 && strcmp(info.basis_hash, known.hash) == 0);
    CHECK(fabs(info.output_snr_db - encoded.output_snr_db) < 0.01);

    REFUSED(PINION_UNSUPPORTED, pinion_decoder_decode(without, encoded.frame.data, encoded.frame.size, &context,
                                                      &limits, &decoded, &error));
    REFUSED(PINION_INVALID_ARGUMENT, pinion_decoder_decode(decoder, encoded.frame.data, encoded.frame.size, NULL,
                                                           &limits, &decoded, &error));
    context.latents_count -= 1;
    REFUSED(PINION_INVALID_ARGUMENT, pinion_decoder_decode(decoder, encoded.frame.data, encoded.frame.size,
                                                           &context, &limits, &decoded, &error));
    context.latents_count += 1;
    OK(pinion_decoder_decode(decoder, encoded.frame.data, encoded.frame.size, &context, &limits, &decoded,
                             &error));
    CHECK(decoded.tensor.extents[0] == kStreamRows && decoded.tensor.extents[1] == kStreamChannels);
    pinion_decoded_free(&decoded);
    pinion_encoded_free(&encoded);
  }
  REFUSED(PINION_INVALID_ARGUMENT, pinion_encoder_offer_basis(encoder, asset, size, &error));
  pinion_encoder_free(encoder);
  pinion_decoder_free(decoder);
  pinion_decoder_free(without);
}

int main(int argc, char** argv) {
  CHECK(argc == 3);
  CHECK(strchr(pinion_codec_version(), '.') != NULL);
  CHECK(strcmp(pinion_status_name(PINION_TOO_LARGE), "too_large") == 0);
  CHECK(strcmp(pinion_status_name(-1), "unknown") == 0);
  check_modes();
  check_bases();
  check_misuse();
  check_growth();
  check_calibrated(argv[1]);
  check_correction(argv[2]);
  return 0;
}
