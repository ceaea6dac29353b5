// One head of the portable attention: its keys and transposed values are widened to 16 bits once, then four queries at
// a time go from scores to context.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/cpu/dot.h"
#include "kernels/cpu/requantize.h"

namespace ivit::cpu {

struct HeadShape {
  int64_t tokens;
  int64_t head_dim;
  // Elements between the queries, keys or values of two tokens, and between those of one token.
  int64_t token_stride;
  int64_t part_stride;
};

class PortableHead {
 public:
  // `queries` is the first query of the head. `context_scale` counts from the head's first channel.
  PortableHead(const int8_t* queries, const HeadShape& shape, const Dyadic& score_scale, const Dyadic& context_scale)
      : first_query_(queries),
        shape_(shape),
        score_scale_(score_scale),
        context_scale_(context_scale),
        key_length_(round_up(shape.head_dim, kDotPadding)),
        value_length_(round_up(shape.tokens, kDotPadding)),
        padded_tokens_(round_up(shape.tokens, kDotColumns)),
        padded_dim_(round_up(shape.head_dim, kDotColumns)),
        keys_(static_cast<size_t>(padded_tokens_ * key_length_)),
        values_(static_cast<size_t>(padded_dim_ * value_length_)),
        queries_(static_cast<size_t>(kDotRows * key_length_)),
        sums_(static_cast<size_t>(kDotRows * std::max(padded_tokens_, padded_dim_))),
        scores_(static_cast<size_t>(shape.tokens)),
        probabilities_(static_cast<size_t>(kDotRows * value_length_)) {
    for (int64_t token = 0; token < shape.tokens; ++token) {
      const int8_t* key = queries + token * shape.token_stride + shape.part_stride;
      const int8_t* value = key + shape.part_stride;
      for (int64_t d = 0; d < shape.head_dim; ++d) {
        keys_[token * key_length_ + d] = key[d];
        values_[d * value_length_ + token] = value[d];
      }
    }
  }

  // Queries [first, last) to rows of y, `stride` apart, the first of them that of query 0.
  // softmax(query, scores, probabilities) turns the int8 scores of a query, which it may change, into int16
  // probabilities.
  template <class Softmax>
  void attend(int64_t first, int64_t last, const Softmax& softmax, int8_t* y, int64_t stride) {
    for (int64_t query = first; query < last; query += kDotRows) {
      attend_some(query, std::min(kDotRows, last - query), softmax, y + query * stride, stride);
    }
  }

 private:
  // Rows beyond `count` repeat older contents and are not stored.
  template <class Softmax>
  void attend_some(int64_t first, int64_t count, const Softmax& softmax, int8_t* y, int64_t stride) {
    for (int64_t row = 0; row < count; ++row) {
      const int8_t* query = first_query_ + (first + row) * shape_.token_stride;
      std::copy(query, query + shape_.head_dim, queries_.data() + row * key_length_);
    }
    for (int64_t token = 0; token < shape_.tokens; token += kDotColumns) {
      dot_4x2(queries_.data(), keys_.data() + token * key_length_, key_length_, sums_.data() + token, padded_tokens_);
    }
    for (int64_t row = 0; row < count; ++row) {
      requantize_row(sums_.data() + row * padded_tokens_, shape_.tokens, score_scale_, scores_.data());
      softmax(first + row, scores_.data(), probabilities_.data() + row * value_length_);
    }
    for (int64_t d = 0; d < shape_.head_dim; d += kDotColumns) {
      dot_4x2(probabilities_.data(), values_.data() + d * value_length_, value_length_, sums_.data() + d, padded_dim_);
    }
    for (int64_t row = 0; row < count; ++row) {
      requantize_row(sums_.data() + row * padded_dim_, shape_.head_dim, context_scale_, y + row * stride);
    }
  }

  const int8_t* const first_query_;
  const HeadShape shape_;
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

}  // namespace ivit::cpu
