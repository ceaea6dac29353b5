// The portable attention: the keys and transposed values of a head are widened to 16 bits once, then four queries at a
// time go from scores to context.
#include <algorithm>
#include <vector>

#include "kernels/cpu/dot.h"
#include "kernels/cpu/int_attention.h"
#include "kernels/cpu/requantize.h"
#include "kernels/cpu/shiftmax.h"

namespace ivit::cpu {
namespace {

class Head {
 public:
  Head(const int8_t* qkv, const Attention& attention, int64_t head, int8_t* y)
      : attention_(attention),
        channels_(attention.heads * attention.head_dim),
        first_channel_(head * attention.head_dim),
        query_(qkv + first_channel_),
        y_(y + first_channel_),
        key_length_(round_up(attention.head_dim, kDotPadding)),
        value_length_(round_up(attention.tokens, kDotPadding)),
        padded_tokens_(round_up(attention.tokens, kDotColumns)),
        padded_dim_(round_up(attention.head_dim, kDotColumns)),
        keys_(static_cast<size_t>(padded_tokens_ * key_length_)),
        values_(static_cast<size_t>(padded_dim_ * value_length_)),
        queries_(static_cast<size_t>(kDotRows * key_length_)),
        sums_(static_cast<size_t>(kDotRows * std::max(padded_tokens_, padded_dim_))),
        scores_(static_cast<size_t>(attention.tokens)),
        probabilities_(static_cast<size_t>(kDotRows * value_length_)) {
    for (int64_t token = 0; token < attention.tokens; ++token) {
      const int8_t* key = query_ + token * 3 * channels_ + channels_;
      const int8_t* value = key + channels_;
      for (int64_t d = 0; d < attention.head_dim; ++d) {
        keys_[token * key_length_ + d] = key[d];
        values_[d * value_length_ + token] = value[d];
      }
    }
  }

  // Queries [first, first + count), count <= 4. Rows beyond `count` repeat older contents and are not stored.
  void attend(int64_t first, int64_t count) {
    for (int64_t row = 0; row < count; ++row) {
      const int8_t* query = query_ + (first + row) * 3 * channels_;
      std::copy(query, query + attention_.head_dim, queries_.data() + row * key_length_);
    }
    for (int64_t token = 0; token < attention_.tokens; token += kDotColumns) {
      dot_4x2(queries_.data(), keys_.data() + token * key_length_, key_length_, sums_.data() + token, padded_tokens_);
    }
    for (int64_t row = 0; row < count; ++row) {
      requantize_row(sums_.data() + row * padded_tokens_, attention_.tokens, attention_.score_scale, scores_.data());
      shiftmax_row(scores_.data(), attention_.tokens, attention_.exponential, attention_.frac_bits,
                   probabilities_.data() + row * value_length_);
    }
    for (int64_t d = 0; d < attention_.head_dim; d += kDotColumns) {
      dot_4x2(probabilities_.data(), values_.data() + d * value_length_, value_length_, sums_.data() + d, padded_dim_);
    }
    for (int64_t row = 0; row < count; ++row) {
      requantize_row(sums_.data() + row * padded_dim_, attention_.head_dim,
                     attention_.context_scale.from(first_channel_), y_ + (first + row) * channels_);
    }
  }

 private:
  const Attention& attention_;
  const int64_t channels_;
  const int64_t first_channel_;
  const int8_t* const query_;
  int8_t* const y_;
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

void attend(const int8_t* qkv, const Attention& attention, int64_t head, int64_t first, int64_t last, int8_t* y) {
  Head worker(qkv, attention, head, y);
  for (int64_t query = first; query < last; query += kDotRows) {
    worker.attend(query, std::min(kDotRows, last - query));
  }
}

}  // namespace

const AttentionKernel kAttentionPortable = {kDotRows, attend};

}  // namespace ivit::cpu
