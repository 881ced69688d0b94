// The precompiled headers that all tests share hang on this file; see CMakeLists.txt.
