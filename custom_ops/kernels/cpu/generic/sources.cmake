# Plain C++, for every processor.
ivit_cpu_variants(kPortable)
