import type { CodegenConfig } from "@graphql-codegen/cli";

const config: CodegenConfig = {
  schema: "../../schema.graphql",
  documents: "src/*.graphql",
  generates: {
    "src/gql/": {
      preset: "client",
      // What a query asks for is what its caller sees.
      presetConfig: { fragmentMasking: false },
      config: { strictScalars: true, scalars: { DateTime: "string" }, useTypeImports: true },
    },
  },
};

export default config;
