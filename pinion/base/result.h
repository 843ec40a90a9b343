#pragma once
// Result<T>: a value or an Error, for everything that outside bytes, users or the system can break.
//
// Own mistakes are PINION_ASSERT (base/assert.h). There is no implicit bool: ask ok(). A Result is as
// thread-safe as its T.

#include <optional>
#include <utility>
#include <variant>

#include "pinion/base/assert.h"
#include "pinion/base/error.h"

namespace pinion {

template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;

  Result(T value) : content_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : content_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return content_.index() == 0; }

  const T& value() const& {
    PINION_ASSERT(ok());
    return std::get<0>(content_);
  }
  T& value() & {
    PINION_ASSERT(ok());
    return std::get<0>(content_);
  }
  T&& value() && {
    PINION_ASSERT(ok());
    return std::get<0>(std::move(content_));
  }
  const T& operator*() const& { return value(); }
  T& operator*() & { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  const T* operator->() const { return &value(); }
  T* operator->() { return &value(); }

  const Error& error() const& {
    PINION_ASSERT(!ok());
    return std::get<1>(content_);
  }
  Error error() && {
    PINION_ASSERT(!ok());
    return std::get<1>(std::move(content_));
  }

 private:
  std::variant<T, Error> content_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;

  Result() = default;
  Result(Error error) : error_(std::move(error)) {}

  bool ok() const { return !error_.has_value(); }
  void value() const { PINION_ASSERT(ok()); }
  const Error& error() const& {
    PINION_ASSERT(!ok());
    return *error_;
  }
  Error error() && {
    PINION_ASSERT(!ok());
    return *std::move(error_);
  }

 private:
  std::optional<Error> error_;
};

}  // namespace pinion

#define PINION_CONCAT_INNER(a, b) a##b
#define PINION_CONCAT(a, b) PINION_CONCAT_INNER(a, b)

// PINION_TRY(auto header, parse(bytes)): declares `header`, or returns the error.
#define PINION_TRY(declaration, expression) \
  PINION_TRY_IMPL(return, PINION_CONCAT(pinion_result_, __LINE__), declaration, expression)
// The same inside a coroutine.
#define PINION_CO_TRY(declaration, expression) \
  PINION_TRY_IMPL(co_return, PINION_CONCAT(pinion_result_, __LINE__), declaration, expression)
#define PINION_TRY_IMPL(ret, result, declaration, expression) \
  auto result = (expression);                                 \
  if (!result.ok()) ret std::move(result).error();            \
  declaration = std::move(result).value()

// PINION_TRY_VOID(write(bytes)): returns the error of a Result whose value is not needed.
#define PINION_TRY_VOID(expression) \
  PINION_TRY_VOID_IMPL(return, PINION_CONCAT(pinion_result_, __LINE__), expression)
#define PINION_CO_TRY_VOID(expression) \
  PINION_TRY_VOID_IMPL(co_return, PINION_CONCAT(pinion_result_, __LINE__), expression)
#define PINION_TRY_VOID_IMPL(ret, result, expression)                            \
  do {                                                                           \
    if (auto result = (expression); !result.ok()) ret std::move(result).error(); \
  } while (false)
