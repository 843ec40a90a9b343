#include "pinion/transport/message.h"

#include <limits>
#include <optional>

#include "pinion/base/checked.h"

namespace pinion::transport {
namespace {

Error broken(std::string text) { return Error{Errc::kProtocol, "message " + std::move(text), ""}; }

// Builds the header while it is being read, and stops at the first bound that is passed.
class HeaderBuilder : public nlohmann::json_sax<Json> {
 public:
  explicit HeaderBuilder(const MessageLimits& limits) : limits_(limits) {}

  Json take() { return std::move(root_); }
  const std::string& why() const { return why_; }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override {
    if (value.size() > limits_.max_text_bytes) return refuse("has a text that is too long");
    return add(std::move(value));
  }
  bool binary(binary_t&) override { return refuse("has a byte string in its header"); }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& value) override {
    if (value.size() > limits_.max_text_bytes) return refuse("has a key that is too long");
    if (open_.back()->contains(value)) return refuse("has the key \"" + value.substr(0, 32) + "\" twice");
    key_ = std::move(value);
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    return refuse("has a header that is not CBOR at byte " + std::to_string(position));
  }

 private:
  bool refuse(std::string why) {
    if (why_.empty()) why_ = std::move(why);
    return false;
  }

  Json* place(Json value) {
    if (++values_ > limits_.max_values) {
      refuse("has too many values in its header");
      return nullptr;
    }
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    Json& slot = parent[key_];
    slot = std::move(value);
    return &slot;
  }
  bool add(Json value) { return place(std::move(value)) != nullptr; }

  // A child stays where it is while it is open: its parent gets no other child meanwhile.
  bool open(Json container) {
    if (open_.size() >= limits_.max_depth) return refuse("has a header that is nested too deeply");
    Json* placed = place(std::move(container));
    if (placed != nullptr) open_.push_back(placed);
    return placed != nullptr;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  const MessageLimits& limits_;
  Json root_;
  std::vector<Json*> open_;
  std::string key_;
  std::string why_;
  std::size_t values_ = 0;
};

Result<Json> parse_header(ByteSpan bytes, const MessageLimits& limits) {
  HeaderBuilder builder(limits);
  const auto* begin = reinterpret_cast<const std::uint8_t*>(bytes.data());
  if (!Json::sax_parse(begin, begin + bytes.size(), &builder, Json::input_format_t::cbor)) {
    return broken(builder.why().empty() ? "has a header that is not CBOR" : builder.why());
  }
  Json header = builder.take();
  if (!header.is_object()) return broken("has a header that is not a map");
  return header;
}

// Cuts `rest` into the blobs that the header announces; all of it must be used.
Result<std::vector<Blob>> cut_blobs(const Json& lengths, const Blob& rest, const MessageLimits& limits) {
  if (!lengths.is_array() || lengths.size() > limits.max_blobs) return broken("has a bad list of blobs");
  std::vector<Blob> blobs;
  std::size_t offset = 0;
  for (const Json& length : lengths) {
    if (!length.is_number_unsigned()) return broken("has a bad blob length");
    const std::uint64_t bytes = length.get<std::uint64_t>();
    if (bytes > rest.bytes.size() - offset) return broken("ends before its blobs do");
    blobs.push_back({rest.owner, rest.bytes.subspan(offset, bytes)});
    offset += bytes;
  }
  if (offset != rest.bytes.size()) return broken("has bytes after its last blob");
  return blobs;
}

}  // namespace

Blob Blob::of(Bytes content) {
  auto owner = std::make_shared<const Bytes>(std::move(content));
  const ByteSpan bytes = *owner;
  return {std::move(owner), bytes};
}

std::string_view Message::type() const {
  const auto found = header.find("type");
  if (found == header.end() || !found->is_string()) return {};
  return found->get_ref<const std::string&>();
}

std::uint32_t Message::add(Blob blob) {
  blobs.push_back(std::move(blob));
  return static_cast<std::uint32_t>(blobs.size() - 1);
}

Result<Message> parse_message(Blob bytes, const MessageLimits& limits) {
  ByteReader reader(bytes.bytes);
  const auto header_bytes = reader.read<std::uint32_t>();
  if (reader.failed()) return broken("is shorter than its header length");
  if (header_bytes == 0 || header_bytes > limits.max_header_bytes) {
    return broken("says that its header has " + std::to_string(header_bytes) + " bytes");
  }
  const ByteSpan header = reader.take(header_bytes);
  if (reader.failed()) return broken("ends inside its header");

  Message message;
  message.wire_bytes = bytes.bytes.size();
  PINION_TRY(message.header, parse_header(header, limits));
  const Blob rest{bytes.owner, bytes.bytes.subspan(reader.offset())};
  const auto lengths = message.header.find("blobs");
  if (lengths == message.header.end()) {
    if (!rest.bytes.empty()) return broken("has bytes after its header");
    return message;
  }
  PINION_TRY(message.blobs, cut_blobs(*lengths, rest, limits));
  message.header.erase("blobs");
  return message;
}

Bytes message_head(const Message& message) {
  Json header = message.header;
  if (!message.blobs.empty()) {
    Json& lengths = header["blobs"] = Json::array();
    for (const Blob& blob : message.blobs) lengths.push_back(blob.bytes.size());
  }
  const std::vector<std::uint8_t> cbor = Json::to_cbor(header);
  ByteWriter head;
  head.write(static_cast<std::uint32_t>(cbor.size()));
  head.write_bytes(std::as_bytes(std::span(cbor)));
  return std::move(head).take();
}

Bytes serialize(const Message& message) {
  Bytes bytes = message_head(message);
  for (const Blob& blob : message.blobs) bytes.insert(bytes.end(), blob.bytes.begin(), blob.bytes.end());
  return bytes;
}

std::size_t wire_size(std::size_t head_bytes, const Message& message) {
  std::size_t total = head_bytes;
  for (const Blob& blob : message.blobs) total += blob.bytes.size();
  return total;
}

}  // namespace pinion::transport
