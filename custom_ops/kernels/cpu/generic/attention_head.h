// One head of attention: its keys and transposed values are widened to 16 bits once, then four queries at a time go
// from scores to context.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/common/integer.h"
#include "kernels/cpu/generic/dot.h"
#include "kernels/cpu/requantize.h"

namespace ivit::cpu::generic {

// `Tokens` are those of attention_tokens.h.
template <class Tokens>
class Head {
 public:
  // `context_scale` counts from the head's first channel.
  Head(const Tokens& tokens, const Dyadic& score_scale, const Dyadic& context_scale)
      : tokens_(tokens),
        score_scale_(score_scale),
        context_scale_(context_scale),
        key_length_(round_up(tokens.head_dim, kDotPadding)),
        value_length_(round_up(tokens.count, kDotPadding)),
        padded_tokens_(round_up(tokens.count, kDotColumns)),
        padded_dim_(round_up(tokens.head_dim, kDotColumns)),
        keys_(static_cast<size_t>(padded_tokens_ * key_length_)),
        values_(static_cast<size_t>(padded_dim_ * value_length_)),
        queries_(static_cast<size_t>(kDotRows * key_length_)),
        sums_(static_cast<size_t>(kDotRows * std::max(padded_tokens_, padded_dim_))),
        scores_(static_cast<size_t>(tokens.count)),
        probabilities_(static_cast<size_t>(kDotRows * value_length_)) {
    for (int64_t token = 0; token < tokens.count; ++token) {
      const int8_t* key = tokens.key(token);
      const int8_t* value = tokens.value(token);
      for (int64_t d = 0; d < tokens.head_dim; ++d) {
        keys_[token * key_length_ + d] = key[d];
        values_[d * value_length_ + token] = value[d];
      }
    }
  }

  // Queries [first, last). softmax(query, scores, probabilities) turns the int8 scores of a query, which it may change,
  // into int16 probabilities.
  template <class Softmax>
  void attend(int64_t first, int64_t last, const Softmax& softmax) {
    for (int64_t query = first; query < last; query += kDotRows) {
      attend_some(query, std::min(kDotRows, last - query), softmax);
    }
  }

 private:
  // Rows beyond `count` repeat older contents and are not stored.
  template <class Softmax>
  void attend_some(int64_t first, int64_t count, const Softmax& softmax) {
    for (int64_t row = 0; row < count; ++row) {
      const int8_t* query = tokens_.query(first + row);
      std::copy(query, query + tokens_.head_dim, queries_.data() + row * key_length_);
    }
    for (int64_t token = 0; token < tokens_.count; token += kDotColumns) {
      dot_4x2(queries_.data(), keys_.data() + token * key_length_, key_length_, sums_.data() + token, padded_tokens_);
    }
    for (int64_t row = 0; row < count; ++row) {
      requantize_row(sums_.data() + row * padded_tokens_, tokens_.count, score_scale_, scores_.data());
      softmax(first + row, scores_.data(), probabilities_.data() + row * value_length_);
    }
    for (int64_t d = 0; d < tokens_.head_dim; d += kDotColumns) {
      dot_4x2(probabilities_.data(), values_.data() + d * value_length_, value_length_, sums_.data() + d, padded_dim_);
    }
    for (int64_t row = 0; row < count; ++row) {
      int8_t* context = tokens_.context(first + row);
      if (context == nullptr) continue;
      requantize_row(sums_.data() + row * padded_dim_, tokens_.head_dim, context_scale_, context);
    }
  }

  const Tokens tokens_;
  const Dyadic score_scale_;
  const Dyadic context_scale_;
  const int64_t key_length_;
  const int64_t value_length_;
  const int64_t padded_tokens_;
  const int64_t padded_dim_;
  std::vector<int16_t> keys_;     // [tokens, head_dim], padded with zeros
  std::vector<int16_t> values_;   // [head_dim, tokens], padded with zeros
  std::vector<int16_t> queries_;  // [4, head_dim]
  std::vector<int32_t> sums_;
  std::vector<int8_t> scores_;
  std::vector<int16_t> probabilities_;  // [4, tokens]
};

}  // namespace ivit::cpu::generic
