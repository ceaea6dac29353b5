// One head of attention: its keys and transposed values are widened to 16 bits once, then four queries at a time go
// from scores to context.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/common/integer.h"
#include "kernels/cpu/generic/dot.h"

namespace ivit::cpu::generic {

// `Tokens` are those of attention_tokens.h.
template <class Tokens>
class Head {
 public:
  explicit Head(const Tokens& tokens)
      : tokens_(tokens),
        key_length_(round_up(tokens.head_dim, kDotPadding)),
        value_length_(round_up(tokens.count, kDotPadding)),
        padded_tokens_(round_up(tokens.count, kDotColumns)),
        padded_dim_(round_up(tokens.head_dim, kDotColumns)),
        keys_(static_cast<size_t>(padded_tokens_ * key_length_)),
        values_(static_cast<size_t>(padded_dim_ * value_length_)),
        queries_(static_cast<size_t>(kDotRows * key_length_)),
        sums_(static_cast<size_t>(kDotRows * std::max(padded_tokens_, padded_dim_))),
        weights_(static_cast<size_t>(kDotRows * value_length_)) {
    for (int64_t token = 0; token < tokens.count; ++token) {
      const int8_t* key = tokens.key(token);
      const int8_t* value = tokens.value(token);
      for (int64_t d = 0; d < tokens.head_dim; ++d) {
        keys_[token * key_length_ + d] = key[d];
        values_[d * value_length_ + token] = value[d];
      }
    }
  }

  // Queries [first, last), of which a few at a time are rows. stage.weights(query, row, products, weights) turns the
  // products of a query with all keys into int16 weights of the values, stage.context(row, sums, context) the sums of
  // weighted values into the int8 context.
  template <class Stage>
  void attend(int64_t first, int64_t last, Stage&& stage) {
    for (int64_t query = first; query < last; query += kDotRows) {
      attend_some(query, std::min(kDotRows, last - query), stage);
    }
  }

 private:
  // Rows beyond `count` repeat older contents and are not stored.
  template <class Stage>
  void attend_some(int64_t first, int64_t count, Stage& stage) {
    for (int64_t row = 0; row < count; ++row) {
      const int8_t* query = tokens_.query(first + row);
      std::copy(query, query + tokens_.head_dim, queries_.data() + row * key_length_);
    }
    for (int64_t token = 0; token < tokens_.count; token += kDotColumns) {
      dot_4x2(queries_.data(), keys_.data() + token * key_length_, key_length_, sums_.data() + token, padded_tokens_);
    }
    for (int64_t row = 0; row < count; ++row) {
      stage.weights(first + row, row, sums_.data() + row * padded_tokens_, weights_.data() + row * value_length_);
    }
    for (int64_t d = 0; d < tokens_.head_dim; d += kDotColumns) {
      dot_4x2(weights_.data(), values_.data() + d * value_length_, value_length_, sums_.data() + d, padded_dim_);
    }
    for (int64_t row = 0; row < count; ++row) {
      int8_t* context = tokens_.context(first + row);
      if (context != nullptr) stage.context(row, sums_.data() + row * padded_dim_, context);
    }
  }

  const Tokens tokens_;
  const int64_t key_length_;
  const int64_t value_length_;
  const int64_t padded_tokens_;
  const int64_t padded_dim_;
  std::vector<int16_t> keys_;     // [tokens, head_dim], padded with zeros
  std::vector<int16_t> values_;   // [head_dim, tokens], padded with zeros
  std::vector<int16_t> queries_;  // [4, head_dim]
  std::vector<int32_t> sums_;
  std::vector<int16_t> weights_;  // [4, tokens]
};

}  // namespace ivit::cpu::generic
