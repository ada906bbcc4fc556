/** The parts of pjrt_c_api.h that Meshwork uses. Written by scripts/gen-pjrt.mjs; do not edit. */

/** The header's own version. Fields and slots are only ever appended, so newer plugins fit as well. */
export const headerVersion = { major: 0, minor: 81 } as const

/** `size` is the end of the last field, which is what struct_size must hold; a field is [offset, bytes]. */
export const structs = {
  PJRT_Error_Destroy_Args: {
    size: 24, fields: {
      struct_size: [0, 8], extension_start: [8, 8], error: [16, 8],
    },
  },
  PJRT_Error_Message_Args: {
    size: 40, fields: {
      struct_size: [0, 8], extension_start: [8, 8], error: [16, 8], message: [24, 8], message_size: [32, 8],
    },
  },
  PJRT_Error_GetCode_Args: {
    size: 28, fields: {
      struct_size: [0, 8], extension_start: [8, 8], error: [16, 8], code: [24, 4],
    },
  },
  PJRT_Plugin_Initialize_Args: {
    size: 16, fields: {
      struct_size: [0, 8], extension_start: [8, 8],
    },
  },
  PJRT_Plugin_Attributes_Args: {
    size: 32, fields: {
      struct_size: [0, 8], extension_start: [8, 8], attributes: [16, 8], num_attributes: [24, 8],
    },
  },
  PJRT_Event_Destroy_Args: {
    size: 24, fields: {
      struct_size: [0, 8], extension_start: [8, 8], event: [16, 8],
    },
  },
  PJRT_Event_IsReady_Args: {
    size: 25, fields: {
      struct_size: [0, 8], extension_start: [8, 8], event: [16, 8], is_ready: [24, 1],
    },
  },
  PJRT_Event_Error_Args: {
    size: 24, fields: {
      struct_size: [0, 8], extension_start: [8, 8], event: [16, 8],
    },
  },
  PJRT_Event_Await_Args: {
    size: 24, fields: {
      struct_size: [0, 8], extension_start: [8, 8], event: [16, 8],
    },
  },
  PJRT_Client_Create_Args: {
    size: 88, fields: {
      struct_size: [0, 8], extension_start: [8, 8], create_options: [16, 8], num_options: [24, 8], kv_get_callback: [32, 8],
      kv_get_user_arg: [40, 8], kv_put_callback: [48, 8], kv_put_user_arg: [56, 8], client: [64, 8], kv_try_get_callback: [72, 8],
      kv_try_get_user_arg: [80, 8],
    },
  },
  PJRT_Client_Destroy_Args: {
    size: 24, fields: {
      struct_size: [0, 8], extension_start: [8, 8], client: [16, 8],
    },
  },
  PJRT_Client_PlatformName_Args: {
    size: 40, fields: {
      struct_size: [0, 8], extension_start: [8, 8], client: [16, 8], platform_name: [24, 8], platform_name_size: [32, 8],
    },
  },
  PJRT_Client_PlatformVersion_Args: {
    size: 40, fields: {
      struct_size: [0, 8], extension_start: [8, 8], client: [16, 8], platform_version: [24, 8], platform_version_size: [32, 8],
    },
  },
  PJRT_Client_AddressableDevices_Args: {
    size: 40, fields: {
      struct_size: [0, 8], extension_start: [8, 8], client: [16, 8], addressable_devices: [24, 8], num_addressable_devices: [32, 8],
    },
  },
  PJRT_Client_Compile_Args: {
    size: 56, fields: {
      struct_size: [0, 8], extension_start: [8, 8], client: [16, 8], program: [24, 8], compile_options: [32, 8],
      compile_options_size: [40, 8], executable: [48, 8],
    },
  },
  PJRT_Client_BufferFromHostBuffer_Args: {
    size: 120, fields: {
      struct_size: [0, 8], extension_start: [8, 8], client: [16, 8], data: [24, 8], type: [32, 4], dims: [40, 8], num_dims: [48, 8],
      byte_strides: [56, 8], num_byte_strides: [64, 8], host_buffer_semantics: [72, 4], device: [80, 8], memory: [88, 8],
      device_layout: [96, 8], done_with_host_buffer: [104, 8], buffer: [112, 8],
    },
  },
  PJRT_Device_AddressableMemories_Args: {
    size: 40, fields: {
      struct_size: [0, 8], extension_start: [8, 8], device: [16, 8], memories: [24, 8], num_memories: [32, 8],
    },
  },
  PJRT_Memory_Kind_Args: {
    size: 40, fields: {
      struct_size: [0, 8], extension_start: [8, 8], memory: [16, 8], kind: [24, 8], kind_size: [32, 8],
    },
  },
  PJRT_Device_GetDescription_Args: {
    size: 32, fields: {
      struct_size: [0, 8], extension_start: [8, 8], device: [16, 8], device_description: [24, 8],
    },
  },
  PJRT_DeviceDescription_Kind_Args: {
    size: 40, fields: {
      struct_size: [0, 8], extension_start: [8, 8], device_description: [16, 8], device_kind: [24, 8], device_kind_size: [32, 8],
    },
  },
  PJRT_Executable_Destroy_Args: {
    size: 24, fields: {
      struct_size: [0, 8], extension_start: [8, 8], executable: [16, 8],
    },
  },
  PJRT_Executable_NumOutputs_Args: {
    size: 32, fields: {
      struct_size: [0, 8], extension_start: [8, 8], executable: [16, 8], num_outputs: [24, 8],
    },
  },
  PJRT_Executable_OptimizedProgram_Args: {
    size: 32, fields: {
      struct_size: [0, 8], extension_start: [8, 8], executable: [16, 8], program: [24, 8],
    },
  },
  PJRT_Executable_OutputElementTypes_Args: {
    size: 40, fields: {
      struct_size: [0, 8], extension_start: [8, 8], executable: [16, 8], output_types: [24, 8], num_output_types: [32, 8],
    },
  },
  PJRT_Executable_OutputDimensions_Args: {
    size: 48, fields: {
      struct_size: [0, 8], extension_start: [8, 8], executable: [16, 8], num_outputs: [24, 8], dims: [32, 8], dim_sizes: [40, 8],
    },
  },
  PJRT_Executable_GetCompiledMemoryStats_Args: {
    size: 112, fields: {
      struct_size: [0, 8], extension_start: [8, 8], executable: [16, 8], generated_code_size_in_bytes: [24, 8],
      argument_size_in_bytes: [32, 8], output_size_in_bytes: [40, 8], alias_size_in_bytes: [48, 8], temp_size_in_bytes: [56, 8],
      host_generated_code_size_in_bytes: [64, 8], host_argument_size_in_bytes: [72, 8], host_output_size_in_bytes: [80, 8],
      host_alias_size_in_bytes: [88, 8], host_temp_size_in_bytes: [96, 8], peak_memory_in_bytes: [104, 8],
    },
  },
  PJRT_Executable_Serialize_Args: {
    size: 56, fields: {
      struct_size: [0, 8], extension_start: [8, 8], executable: [16, 8], serialized_bytes: [24, 8], serialized_bytes_size: [32, 8],
      serialized_executable: [40, 8], serialized_executable_deleter: [48, 8],
    },
  },
  PJRT_Executable_DeserializeAndLoad_Args: {
    size: 64, fields: {
      struct_size: [0, 8], extension_start: [8, 8], client: [16, 8], serialized_executable: [24, 8], serialized_executable_size: [32, 8],
      loaded_executable: [40, 8], overridden_serialized_compile_options: [48, 8], overridden_serialized_compile_options_size: [56, 8],
    },
  },
  PJRT_LoadedExecutable_Destroy_Args: {
    size: 24, fields: {
      struct_size: [0, 8], extension_start: [8, 8], executable: [16, 8],
    },
  },
  PJRT_LoadedExecutable_GetExecutable_Args: {
    size: 32, fields: {
      struct_size: [0, 8], extension_start: [8, 8], loaded_executable: [16, 8], executable: [24, 8],
    },
  },
  PJRT_LoadedExecutable_AddressableDevices_Args: {
    size: 40, fields: {
      struct_size: [0, 8], extension_start: [8, 8], executable: [16, 8], addressable_devices: [24, 8], num_addressable_devices: [32, 8],
    },
  },
  PJRT_LoadedExecutable_Execute_Args: {
    size: 80, fields: {
      struct_size: [0, 8], extension_start: [8, 8], executable: [16, 8], options: [24, 8], argument_lists: [32, 8], num_devices: [40, 8],
      num_args: [48, 8], output_lists: [56, 8], device_complete_events: [64, 8], execute_device: [72, 8],
    },
  },
  PJRT_Buffer_Destroy_Args: {
    size: 24, fields: {
      struct_size: [0, 8], extension_start: [8, 8], buffer: [16, 8],
    },
  },
  PJRT_Buffer_IsDeleted_Args: {
    size: 25, fields: {
      struct_size: [0, 8], extension_start: [8, 8], buffer: [16, 8], is_deleted: [24, 1],
    },
  },
  PJRT_Buffer_ToHostBuffer_Args: {
    size: 56, fields: {
      struct_size: [0, 8], extension_start: [8, 8], src: [16, 8], host_layout: [24, 8], dst: [32, 8], dst_size: [40, 8], event: [48, 8],
    },
  },
  PJRT_NamedValue: {
    size: 56, fields: {
      struct_size: [0, 8], extension_start: [8, 8], name: [16, 8], name_size: [24, 8], type: [32, 4], string_value: [40, 8],
      int64_value: [40, 8], int64_array_value: [40, 8], float_value: [40, 4], bool_value: [40, 1], value_size: [48, 8],
    },
  },
  PJRT_Program: {
    size: 48, fields: {
      struct_size: [0, 8], extension_start: [8, 8], code: [16, 8], code_size: [24, 8], format: [32, 8], format_size: [40, 8],
    },
  },
  PJRT_ExecuteOptions: {
    size: 112, fields: {
      struct_size: [0, 8], extension_start: [8, 8], send_callbacks: [16, 8], recv_callbacks: [24, 8], num_send_ops: [32, 8],
      num_recv_ops: [40, 8], launch_id: [48, 4], non_donatable_input_indices: [56, 8], num_non_donatable_input_indices: [64, 8],
      context: [72, 8], call_location: [80, 8], num_tasks: [88, 8], task_ids: [96, 8], incarnation_ids: [104, 8],
    },
  },
  PJRT_Buffer_MemoryLayout: {
    size: 76, fields: {
      struct_size: [0, 8], extension_start: [8, 8], tiled: [16, 56], strides: [16, 32], type: [72, 4],
    },
  },
  PJRT_Buffer_MemoryLayout_Tiled: {
    size: 56, fields: {
      struct_size: [0, 8], extension_start: [8, 8], minor_to_major: [16, 8], minor_to_major_size: [24, 8], tile_dims: [32, 8],
      tile_dim_sizes: [40, 8], num_tiles: [48, 8],
    },
  },
  PJRT_Api_Version: {
    size: 24, fields: {
      struct_size: [0, 8], extension_start: [8, 8], major_version: [16, 4], minor_version: [20, 4],
    },
  },
  PJRT_Extension_Base: {
    size: 24, fields: {
      struct_size: [0, 8], type: [8, 4], next: [16, 8],
    },
  },
} as const

/** Byte offset of each function pointer in PJRT_Api. */
export const slots = {
  PJRT_Error_Destroy: 40, PJRT_Error_Message: 48, PJRT_Error_GetCode: 56, PJRT_Plugin_Initialize: 64, PJRT_Plugin_Attributes: 72,
  PJRT_Event_Destroy: 80, PJRT_Event_IsReady: 88, PJRT_Event_Error: 96, PJRT_Event_Await: 104, PJRT_Client_Create: 120,
  PJRT_Client_Destroy: 128, PJRT_Client_PlatformName: 136, PJRT_Client_PlatformVersion: 152, PJRT_Client_AddressableDevices: 168,
  PJRT_Client_Compile: 200, PJRT_Client_BufferFromHostBuffer: 216, PJRT_Device_AddressableMemories: 296, PJRT_Memory_Kind: 328,
  PJRT_Device_GetDescription: 272, PJRT_DeviceDescription_Kind: 248, PJRT_Executable_Destroy: 360, PJRT_Executable_NumOutputs: 392,
  PJRT_Executable_OptimizedProgram: 424, PJRT_Executable_OutputElementTypes: 760, PJRT_Executable_OutputDimensions: 768,
  PJRT_Executable_GetCompiledMemoryStats: 808, PJRT_Executable_Serialize: 432, PJRT_Executable_DeserializeAndLoad: 488,
  PJRT_LoadedExecutable_Destroy: 440, PJRT_LoadedExecutable_GetExecutable: 448, PJRT_LoadedExecutable_AddressableDevices: 456,
  PJRT_LoadedExecutable_Execute: 480, PJRT_Buffer_Destroy: 504, PJRT_Buffer_IsDeleted: 584, PJRT_Buffer_ToHostBuffer: 600,
} as const

export const enums = {
  PJRT_Error_Code: {
    OK: 0, CANCELLED: 1, UNKNOWN: 2, INVALID_ARGUMENT: 3, DEADLINE_EXCEEDED: 4, NOT_FOUND: 5, ALREADY_EXISTS: 6, PERMISSION_DENIED: 7,
    RESOURCE_EXHAUSTED: 8, FAILED_PRECONDITION: 9, ABORTED: 10, OUT_OF_RANGE: 11, UNIMPLEMENTED: 12, INTERNAL: 13, UNAVAILABLE: 14,
    DATA_LOSS: 15, UNAUTHENTICATED: 16,
  },
  PJRT_NamedValue_Type: {
    String: 0, Int64: 1, Int64List: 2, Float: 3, Bool: 4,
  },
  PJRT_Buffer_Type: {
    INVALID: 0, PRED: 1, S8: 2, S16: 3, S32: 4, S64: 5, U8: 6, U16: 7, U32: 8, U64: 9, F16: 10, F32: 11, F64: 12, BF16: 13, C64: 14,
    C128: 15, F8E5M2: 16, F8E4M3FN: 17, F8E4M3B11FNUZ: 18, F8E5M2FNUZ: 19, F8E4M3FNUZ: 20, S4: 21, U4: 22, TOKEN: 23, S2: 24, U2: 25,
    F8E4M3: 26, F8E3M4: 27, F8E8M0FNU: 28, F4E2M1FN: 29,
  },
  PJRT_HostBufferSemantics: {
    ImmutableOnlyDuringCall: 0, ImmutableUntilTransferCompletes: 1, ImmutableZeroCopy: 2, MutableZeroCopy: 3,
  },
  PJRT_Buffer_MemoryLayout_Type: {
    Tiled: 0, Strides: 1,
  },
  PJRT_Extension_Type: {
    Gpu_Custom_Call: 0, Profiler: 1, Custom_Partitioner: 2, Stream: 3, Layouts: 4, FFI: 5, MemoryDescriptions: 6, Triton: 7, RawBuffer: 8,
    PhaseCompile: 9, Example: 10, Unknown: 11, CrossHostTransfers: 12, ExecutableMetadata: 13, Callback: 14, HostAllocator: 15,
  },
} as const
