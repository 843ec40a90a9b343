#include "pinion/codec/stream_split.h"

#include <cstring>

namespace pinion::codec {
namespace {

std::size_t row_bytes(const Tensor& tensor) {
  return static_cast<std::size_t>(tensor.shape()[2]) * size_bytes(tensor.dtype());
}

// Rows [begin, begin + count) of each batch item.
Tensor take_rows(const Tensor& tensor, std::int64_t begin, std::int64_t count) {
  const Shape& shape = tensor.shape();
  Tensor taken = Tensor::empty(tensor.dtype(), {shape[0], count, shape[2]});
  const std::size_t bytes = row_bytes(tensor);
  const std::byte* from = tensor.view().data + static_cast<std::size_t>(begin) * bytes;
  std::byte* to = taken.mutable_data();
  const std::size_t part = static_cast<std::size_t>(count) * bytes;
  const std::size_t stride = static_cast<std::size_t>(shape[1]) * bytes;
  for (std::int64_t item = 0; item < shape[0]; ++item, from += stride, to += part)
    std::memcpy(to, from, part);
  return taken;
}

// The rows of `second` behind those of `first`, in each batch item.
Tensor append_rows(const Tensor& first, const Tensor& second) {
  const Shape &a = first.shape(), &b = second.shape();
  Tensor joined = Tensor::empty(first.dtype(), {a[0], a[1] + b[1], a[2]});
  std::byte* to = joined.mutable_data();
  for (std::int64_t item = 0; item < a[0]; ++item) {
    for (const Tensor* part : {&first, &second}) {
      const std::size_t size = static_cast<std::size_t>(part->shape()[1]) * row_bytes(*part);
      std::memcpy(to, part->view().data + static_cast<std::size_t>(item) * size, size);
      to += size;
    }
  }
  return joined;
}

}  // namespace

Result<TensorList> StateStreams::split(const TensorList& state) const {
  TensorList streams;
  for (const NamedTensor& entry : state) {
    if (!splits(entry.name)) {
      streams.push_back(entry);
      continue;
    }
    const Shape& shape = entry.tensor.shape();
    if (shape.rank() != 3 || shape[1] != picture_rows + reference_rows) {
      return Error{Errc::kInvalidArgument,
                   "\"" + entry.name + "\" has shape " + to_string(shape) + ", not " +
                       std::to_string(picture_rows) + " rows of a picture and " +
                       std::to_string(reference_rows) + " of references",
                   ""};
    }
    streams.push_back({entry.name, take_rows(entry.tensor, 0, picture_rows)});
    streams.push_back({std::string(kReferenceStream), take_rows(entry.tensor, picture_rows, reference_rows)});
  }
  return streams;
}

Result<TensorList> StateStreams::join(const TensorList& streams) const {
  TensorList state;
  for (auto part = streams.begin(); part != streams.end(); ++part) {
    if (!splits(part->name)) {
      state.push_back(*part);
      continue;
    }
    const NamedTensor& of_picture = *part++;
    PINION_ASSERT(part != streams.end() && part->name == kReferenceStream);
    const std::int64_t rows = of_picture.tensor.shape()[1], more = part->tensor.shape()[1];
    if (rows != picture_rows || more != reference_rows) {
      return Error{Errc::kProtocol,
                   "\"" + picture + "\" comes with " + std::to_string(rows) + " rows and " +
                       std::to_string(more) + " of references, not with " + std::to_string(picture_rows) +
                       " and " + std::to_string(reference_rows),
                   ""};
    }
    state.push_back({picture, append_rows(of_picture.tensor, part->tensor)});
  }
  return state;
}

}  // namespace pinion::codec
