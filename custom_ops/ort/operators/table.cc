// The table of all operators: contracts and kernels.
#include "ort/operator.h"

namespace ivit::ort {

#define IVIT_FITS(Name)                                                                 \
  static_assert(op::Name::kInputs <= kMostInputs && op::Name::kOutputs <= kMostOutputs, \
                #Name " has more inputs or outputs than a call holds");                 \
  static_assert(op::Name::kForms <= Dims::kMostForms, #Name " has more forms of dimensions than Dims holds");
IVIT_OPERATORS(IVIT_FITS)

const std::vector<OperatorSpec>& operators() {
  // Never destroyed: sessions may run while the process ends.
#define IVIT_ROW(Name) {op::Name::contract(), create_kernel<op::Name>},
  static const auto& table = *new std::vector<OperatorSpec>{IVIT_OPERATORS(IVIT_ROW)};
  return table;
}

}  // namespace ivit::ort
